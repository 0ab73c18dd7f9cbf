"""The verbs of agentrl as functions: what the command line calls, and what ``import agentrl as ar`` gives.

Each runs its event loop in a thread of its own, so it works where a loop runs already (notebooks).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import yaml

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.envs import plugins, registry
from agentrl.errors import UserError, unknown
from agentrl.evaluation import suites
from agentrl.evaluation.compare import compare
from agentrl.evaluation.evaluate import evaluate as measure
from agentrl.evaluation.report import Report
from agentrl.policies.base import Policy
from agentrl.policies.load import load_policy
from agentrl.rollout.engine import Rollout, preflight
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.rollout.replay import replay as replayed
from agentrl.rollout.stem import Difference
from agentrl.rollout.teacher import Teacher
from agentrl.seeds import derive
from agentrl.types import Group, Task, Trajectory, grouped

if TYPE_CHECKING:
    from agentrl.trainers.credit.explain import Explained

P = ParamSpec("P")
T = TypeVar("T")
COLLECT_CHUNK = 500  # episodes a file


def _apart(verb: Callable[P, T]) -> Callable[P, T]:
    """Run in a new thread where this one has a running event loop, else here."""

    @wraps(verb)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return verb(*args, **kwargs)
        return ThreadPoolExecutor(1, "agentrl").submit(verb, *args, **kwargs).result()

    return run


@_apart
def collect(
    envs: str | Sequence[str],
    policy: str = "expert",
    episodes: int = 1000,
    out: str | Path = "demos",
    *,
    noise: float | tuple[float, float] = 0.0,
    kwargs: dict[str, Any] | None = None,
    seed: int = 0,
    keep: str = "all",
    attempts: int = 1,
    cap: int | None = None,
    labels: bool = False,
    beta: float = 0.0,
    plugin: Sequence[str] = (),
    on_done: Callable[[Trajectory], None] | None = None,
    engine: str = "transformers",
) -> Path:
    """Play ``episodes`` of each environment (split train) and store them; the folder.

    ``noise``: how often the expert acts at random (such turns are marked), or a range that each episode draws from.
    ``keep="successes"`` drops the rest. Each task is tried ``attempts`` times in a row, and of those that are kept the
    ``cap`` shortest stay. ``labels`` stores the expert's action in every turn beside the policy's own, and with
    probability ``beta`` the expert takes the turn: what DAgger learns from.
    """
    if (cap is not None and cap < 1) or attempts < 1:
        raise UserError("collect needs at least one attempt, and keeps at least one a task")
    if beta and not labels:
        raise UserError("beta is how often the expert acts, which needs labels")
    folder, arguments = Path(out), tuple(sorted((kwargs or {}).items()))
    for path in plugin:
        plugins.load(path)
    if folder.exists() and any(folder.glob("*.parquet")):
        raise UserError(f"{folder} holds trajectories already; choose another folder")
    loaded = load_policy(policy, engine=engine, noise=noise)
    taught = AgentConfig.model_validate(loaded.agent) if loaded.agent else AgentConfig()
    rollout = Rollout(loaded.policy, taught, Limits(), deterministic=True, teacher=Teacher(beta) if labels else None)
    try:
        for number, env in enumerate([envs] if isinstance(envs, str) else envs):
            found = registry.resolve(env)
            ids = registry.split(found.spec, found.split or "train", kwargs)
            asyncio.run(preflight(Task(found.spec.id, ids[0], arguments)))
            jobs = []
            for i in range(episodes):
                place, attempt = divmod(i, attempts)
                task = Task(found.spec.id, ids[place % len(ids)], arguments)
                turn = place // len(ids) * attempts + attempt
                group, key = f"{number}-{i - attempt:06d}", f"{number}-{i:06d}"
                jobs.append(Job(key, task, derive(seed, "collect", task.key, turn), group=group, key=(number, i)))
            chunk = max(1, COLLECT_CHUNK // attempts) * attempts
            for start in range(0, episodes, chunk):
                played = asyncio.run(rollout.run(jobs[start : start + chunk], on_done, retries=1))
                store.write(folder, f"{number:02d}-{start:07d}", _kept(played, keep == "successes", cap))
    finally:
        rollout.close()
        loaded.close()
    plugins.remember(folder)
    return folder


@_apart
def sft(
    data: str | Path | Sequence[Path],
    *,
    from_scratch: str | None = None,
    model: str | None = None,
    out: str | Path = "policies/sft",
    episodes: int = 1000,
    noise: float | tuple[float, float] = 0.3,
    agent: AgentConfig | None = None,
    window: int = 1024,
    vocabulary: int = 1152,
    tokens: str = "phrases",
    progress: Callable[[int, int, float], None] | None = None,
    **settings: Any,
) -> str:
    """Clone behaviour into a new small model (``from_scratch`` = its size) or a given one; the policy's folder.

    ``data`` is a folder of stored trajectories (or several), or an environment, whose noisy expert is then played
    ``episodes`` times. ``settings`` are those of :class:`agentrl.trainers.sft.SFTConfig`.
    """
    from agentrl.trainers import clone

    target = Path(out)
    folders = _folders(data)
    if isinstance(data, str) and not folders[0].is_dir():
        registry.resolve(data)
        folders = [target.parent / f"{target.name}-demos"]
        if not (folders[0].exists() and any(folders[0].glob("*.parquet"))):
            collect(data, "expert", episodes, folders[0], noise=noise)
    for folder in folders:
        plugins.recall(folder)
    groups = [group for folder in folders for group in store.read(folder)]
    trajectories = [t for group in groups for t in group]
    made = clone.clone(trajectories, from_scratch, model, target, agent, window, vocabulary, tokens, progress, settings)
    return str(made)


@_apart
def train(
    env_or_recipe: str,
    *,
    policy: str | None = None,
    engine: str | None = None,
    iterations: int | None = None,
    group: int | None = None,
    rewards: list[Any] | None = None,
    credit: list[Any] | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    set: Sequence[str] = (),
    observer: Any = None,
) -> Any:
    """Train by reinforcement learning; a :class:`agentrl.trainers.loop.Run`."""
    from agentrl.trainers.loop import Training

    keys = {"policy.path": policy, "policy.engine": engine, "rollout.group": group}
    changes = [*set, *(f"{key}={value}" for key, value in keys.items() if value)]
    made = recipe_for(env_or_recipe, changes, iterations=iterations, rewards=rewards, credit=credit, seed=seed)
    folder = Path(out) if out is not None else new_folder(made.name)
    return Training.new(made, folder, observer).run()


def recipe_for(name: str, changes: Sequence[str] = (), **known: Any) -> Any:
    """The recipe of that name or file; for an environment, the recipe ``default`` with it."""
    from agentrl.trainers import recipe as recipes

    if name in recipes.bundled() or name.endswith((".yaml", ".yml")):
        return recipes.load(name, changes, **known)
    try:
        spec = registry.resolve(name).spec
    except UserError:
        if "-v" in name:
            raise
        return recipes.load(name, changes, **known)
    if taken := next((change for change in changes if change.startswith(("env=", "env."))), None):
        raise UserError(
            f"{name} is the environment already, so --set {taken} says it twice; its arguments: kwargs.NAME=…"
        )
    short = spec.id.split("/")[-1].lower()
    return recipes.load("default", [f"name={short}", *changes], env=name, plugins=plugins.loaded() or None, **known)


@_apart
def evaluate(
    suite: str,
    policy: str = "small",
    k: int | None = None,
    *,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    allow_train: bool = False,
    kwargs: dict[str, Any] | None = None,
    out: str | Path | None = None,
    agent: AgentConfig | None = None,
    on_done: Callable[[Trajectory, int], None] | None = None,
    engine: str = "transformers",
) -> Report:
    """Measure a policy on a suite or ``ENV[:SPLIT]``: ``k`` attempts a task, the first ``limit`` tasks."""
    chosen = suites.load(suite, allow_train=allow_train, kwargs=kwargs, first=limit)
    asyncio.run(preflight(chosen.tasks()[0]))
    with contextlib.closing(load_policy(policy, engine=engine)) as loaded:
        taught = AgentConfig.model_validate(loaded.agent) if loaded.agent else None
        return measure(
            chosen,
            loaded.policy,
            agent=agent or taught,
            name=policy,
            identity=_identity(loaded.source),
            attempts=k,
            limit=limit,
            workers=workers,
            seed=seed,
            out=Path(out) if out else None,
            on_done=on_done,
        )


def credit(
    groups: Group | Sequence[Group] | str | Path,
    estimators: str | Sequence[str],
    group: str | int = 0,
    *,
    preset: str | None = None,
    **options: Any,
) -> Explained:
    """What each estimator gives every turn of a group: ``.table()`` is a data frame. Needs no environment, no model.

    ``groups``: groups, or where they are stored; ``group`` chooses one of several. ``options`` are those of the
    estimators: ``gamma=0.9``.
    """
    from agentrl.trainers.credit.batches import batch_of, batches
    from agentrl.trainers.credit.choose import choose, split
    from agentrl.trainers.credit.explain import explain

    if isinstance(groups, str | Path):
        found = batches(groups)
    else:
        found = [batch_of([groups] if isinstance(groups, Group) else list(groups))]
    return explain(found, choose(split(estimators), options, preset), str(group))


def dpo(
    data: str | Path | Sequence[Path],
    *,
    model: str,
    out: str | Path = "policies/dpo",
    progress: Callable[[int, int, float], None] | None = None,
    **settings: Any,
) -> str:
    """Prefer successes over failures of the same task, in stored episodes with token records; the policy's folder.

    ``settings`` are those of :class:`agentrl.trainers.dpo.DPOConfig`.
    """
    from agentrl.trainers.dpo import prefer

    groups = [group for folder in _folders(data) for group in store.read(folder)]
    return str(prefer(groups, model, Path(out), progress, settings))


def replay(
    path: str | Path, ids: Sequence[str] | None = None, *, plugin: Sequence[str] = ()
) -> Iterator[tuple[Trajectory, Difference | None]]:
    """Take stored episodes (all, or those named) again: each with where it first differs from what is stored.

    Raises UserError for an id that is not stored, naming the nearest.
    """
    folder = Path(path)
    for file in plugin:
        plugins.load(file)
    plugins.recall(folder)
    recipe = folder / "recipe.yaml"
    if recipe.is_file():
        for file in (yaml.safe_load(recipe.read_text()) or {}).get("plugins", ()):
            plugins.load(file)
    stored = {t.id: t for group in store.read(folder) for t in group}
    for id in ids or ():
        if id not in stored:
            raise unknown("trajectory", id, stored)
    return replayed([stored[id] for id in ids or stored])


def new_folder(name: str) -> Path:
    """``runs/NAME-DATE-TIME``, not there yet."""
    stem = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    return next(p for p in (stem, *(Path(f"{stem}-{i}") for i in range(1, 1000))) if not p.exists())


def _folders(data: str | Path | Sequence[Path]) -> list[Path]:
    return [Path(data)] if isinstance(data, str | Path) else list(data)


def _kept(played: Sequence[Trajectory], successes: bool, cap: int | None) -> list[Group]:
    """Which of a task's attempts are stored."""
    groups = grouped((t for t in played if t.trusted and (t.success or not successes)), lambda t: t.group)
    shortest = (sorted(kept, key=lambda t: (len(t.turns), t.sampled_tokens, t.id)) for kept in groups.values())
    return [Group(kept[0].task, kept[0].group, kept[:cap]) for kept in shortest]


def _identity(source: str) -> str:
    """What changes where a folder's weights do: names, sizes and times of its files."""
    path = Path(source).resolve()
    files = sorted(path.glob("*")) if path.is_dir() else [path] if path.is_file() else []
    weights = [(f.name, f.stat()) for f in files if "tensors" in f.name or f == path]
    return " ".join(f"{name}:{found.st_size}:{found.st_mtime_ns}" for name, found in weights)


__all__ = ["Policy", "collect", "compare", "credit", "evaluate", "sft", "train"]
