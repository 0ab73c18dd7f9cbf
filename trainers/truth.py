"""The true advantage of visited turns: exactly in KeyDoor, elsewhere by going back and playing on many times."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.envs import registry
from agentrl.envs.keydoor.values import Policy, Values, exact_values, mixed_policy
from agentrl.envs.keydoor.world import LIMIT, State, World, advance, splits, world_of
from agentrl.errors import UserError
from agentrl.policies.load import load_policy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.trainers.continuations import continued
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.credit.bench import Truth
from agentrl.trainers.credit.table import Floats
from agentrl.trainers.progress import Observer
from agentrl.types import Group, Task, Trajectory

FILE = "truth.parquet"


def exact(groups: int, size: int, epsilon: float, seed: int) -> Truth:
    """KeyDoor by a policy that goes the best way, and with ``epsilon`` any: values by dynamic programming, no error.

    Anchors are the environment's own states, which do not tell how many turns are left, as in training.
    """
    episodes: list[tuple[str, str, list[_Step]]] = []
    for g in range(groups):
        name = splits()["train"][g % len(splits()["train"])]
        policy = mixed_policy(name, epsilon)
        values = exact_values(name, policy)
        for member in range(size):
            steps = list(_walk(world_of(name), policy, values, random.Random(derive(seed, "truth", g, member))))
            episodes.append((f"{g:04d}-{member:03d}", f"{g:04d}", steps))
    flat = [step for *_, steps in episodes for step in steps]
    table = TurnTable.from_arrays(
        ids=[id for id, _, _ in episodes],
        group=[group for _, group, _ in episodes],
        length=[len(steps) for *_, steps in episodes],
        reward=[step.reward for step in flat],
        anchor=[step.state for step in flat],
        action=[step.action for step in flat],
    )
    # ids were made in the order of the table, so rows are where they were
    return Truth(table, np.array([step.advantage for step in flat]), np.zeros(len(flat)))


class _Step(NamedTuple):
    state: State
    action: str
    reward: float
    advantage: float


def _walk(world: World, policy: Policy, values: Values, rng: random.Random) -> Iterator[_Step]:
    state = world.first
    for left in range(LIMIT, 0, -1):
        actions = policy[state]
        action = rng.choices(list(actions), list(actions.values()))[0]
        after = advance(world, state, action) or state
        done = after.room == world.goal
        yield _Step(state, action, float(done), values.advantage(state, left, action))
        if done:
            return
        state = after


def estimated(
    env: str,
    policy: str,
    out: Path,
    *,
    groups: int,
    size: int,
    k: int,
    kwargs: dict[str, Any],
    turn_tokens: int,
    seed: int,
    observer: Observer | None = None,
) -> Truth:
    """Play ``groups`` groups, go back to every turn and play on ``k`` times; each group is stored in ``out`` when done.

    ``A = r + V(after) - V(before)``, undiscounted, where each V is the mean return of ``k`` continuations: right for
    environments whose steps are not random. Raises UserError for a folder that holds something, and for an environment
    that cannot go back.
    """
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} is not empty; choose another folder, or give it in place of the environment")
    found = registry.resolve(env)
    made = registry.make(found.spec.id, **kwargs)
    level = made.snapshot_level
    made.close()
    if level == "none":
        raise UserError(f"{found.spec.id} cannot go back to a turn (snapshot level none)")
    loaded = load_policy(policy)
    agent = AgentConfig.model_validate(loaded.agent) if loaded.agent else AgentConfig()
    ids = registry.split(found.spec, found.split or "train", kwargs)
    tasks = [Task(found.spec.id, ids[g % len(ids)], tuple(sorted(kwargs.items()))) for g in range(groups)]
    rollout = Rollout(loaded.policy, agent, Limits(turn_tokens=turn_tokens), deterministic=True, keep_states=True)
    done: list[Group] = []
    values: dict[str, tuple[Floats, Floats]] = {}  # of a trajectory's turns, and their standard errors
    try:
        for g, task in enumerate(tasks):
            watch = _OfGroup(observer or Observer(), f"group {g + 1} of {groups}")
            jobs = [
                Job(f"{g:04d}-{i:03d}", task, derive(seed, "truth", g, i), group=f"{g:04d}", key=(g, i))
                for i in range(size)
            ]
            watch.phase("episodes", size)
            played = asyncio.run(rollout.run(jobs, watch.episode, retries=1))
            done.append(Group(task, f"{g:04d}", played))
            table = TurnTable.from_groups(done[-1:])
            kept = {t.id: t for t in played}
            ordered = [kept[id] for id in table.ids]
            table, _ = continued(table, ordered, rollout, k=k, gamma=1.0, temperature=1.0, seed=seed, observer=watch)
            rollout.forget()
            for id in table.ids:
                values[id] = table.mc_values[table.rows(id)], table.mc_error[table.rows(id)]
            store.write(out / "trajectories", f"{g:06d}", done[-1:])
            _write(out, done, values)
    finally:
        rollout.close()
    return stored(out)


@dataclass(frozen=True)
class _OfGroup(Observer):
    """Tells ``observer`` which group a phase is of."""

    observer: Observer
    group: str

    def phase(self, name: str, total: int) -> None:
        self.observer.phase(f"{self.group}: {name}", total)

    def episode(self, trajectory: Trajectory) -> None:
        self.observer.episode(trajectory)


def _write(out: Path, groups: Sequence[Group], values: dict[str, tuple[Floats, Floats]]) -> None:
    """The values of the turns of ``groups``, in the order of their table."""
    table = TurnTable.from_groups(groups)
    columns = {
        "trajectory": [table.ids[i] for i in table.trajectory],
        "turn": table.turn,
        "value": np.concatenate([values[id][0] for id in table.ids]),
        "error": np.concatenate([values[id][1] for id in table.ids]),
    }
    store.write_table(out / FILE, pa.table(columns))


def stored(folder: Path) -> Truth:
    """What :func:`estimated` left. Raises UserError where it is not there or does not fit."""
    found = store.read_table(folder / FILE)
    known = found["trajectory"].to_pylist()
    whole = set(known)  # a group that was stored just before a kill has no values yet
    groups = [group for group in store.read(folder / "trajectories") if any(t.id in whole for t in group)]
    table = TurnTable.from_groups(groups)
    if known != [table.ids[i] for i in table.trajectory]:
        raise UserError(f"{folder / FILE} does not belong to the trajectories beside it")
    return _truth(table, found["value"].to_numpy(), found["error"].to_numpy())


def _truth(table: TurnTable, value: Any, error: Any) -> Truth:
    last = table.start + table.length - 1
    after, after_error = np.append(value[1:], 0.0), np.append(error[1:], 0.0)
    after[last], after_error[last] = 0.0, 0.0
    return Truth(table, table.reward + after - value, np.sqrt(error**2 + after_error**2))
