"""The training loop, top to bottom: tasks, rollouts, credit, update, checkpoint, and the same again."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from agentrl import store
from agentrl.agents.chat import AgentConfig, probe_template
from agentrl.envs import plugins, registry
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.evaluation.evaluate import evaluate
from agentrl.policies.load import load_model, locate
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout, preflight
from agentrl.rollout.episode import Job
from agentrl.seeds import derive
from agentrl.trainers import checkpoint, credit
from agentrl.trainers.batching import samples_of
from agentrl.trainers.models import parameters
from agentrl.trainers.recipe import Recipe, validate
from agentrl.trainers.record import Record
from agentrl.trainers.update import Learner
from agentrl.types import Group, Task, Trajectory

WINDOW = 5  # iterations that success is averaged over, for the collapse alarm and the best checkpoint


class Observer:
    """What the terminal shows; every method may be left as it is."""

    def note(self, line: str) -> None: ...
    def phase(self, name: str, total: int) -> None: ...
    def episode(self, trajectory: Trajectory) -> None: ...
    def iteration(self, metrics: dict[str, Any], total: int) -> None: ...


@dataclass
class Run:
    """A finished (or stopped) run. ``policy`` is what ``--policy`` takes."""

    folder: Path
    summary: dict[str, Any]

    @property
    def policy(self) -> str:
        return str(self.folder)

    @property
    def before(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.summary.get("before")
        return found

    @property
    def after(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.summary.get("after")
        return found


@dataclass
class Training:
    """One run. ``Training.new`` or ``Training.resume``, then ``run``."""

    recipe: Recipe
    record: Record
    observer: Observer
    resumed: Path | None = None
    phases: dict[str, float] = field(default_factory=dict)
    begin: float = field(default_factory=time.perf_counter)
    spent: float = 0.0  # seconds of the run before it was resumed

    @classmethod
    def new(cls, recipe: Recipe, folder: Path, observer: Observer | None = None) -> Training:
        return cls(recipe, Record(folder), observer or Observer())

    @classmethod
    def resume(cls, folder: Path, observer: Observer | None = None, iterations: int | None = None) -> Training:
        """Raises UserError where there is nothing to resume, or nothing left to do."""
        path = folder / "recipe.yaml"
        if not path.exists():
            raise UserError(f"{folder} holds no run (no recipe.yaml)")
        data = yaml.safe_load(path.read_text())
        if iterations is not None:
            data["iterations"] = iterations
        recipe = validate(data, str(path))
        last = folder / "checkpoints" / "last"
        if (folder / "summary.json").exists() and _iteration(last) >= recipe.iterations:
            raise UserError(f"{folder} is finished ({recipe.iterations} iterations): nothing to resume")
        return cls(recipe, Record(folder), observer or Observer(), last.resolve() if last.exists() else None)

    def run(self) -> Run:
        recipe, record, say = self.recipe, self.record, self.observer.note
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        for name in recipe.plugins:
            plugins.load(name)
        plan = credit.plan(recipe.rewards, recipe.credit)
        tasks = self._tasks()
        suite = (
            suites.load(recipe.suite or f"{registry.resolve(recipe.env).spec.id}:unseen", kwargs=recipe.kwargs)
            if recipe.evaluate
            else None
        )
        with self._phase("preflight"):
            seconds = asyncio.run(preflight(tasks[0]))
        say(f"environment {tasks[0].env}: {len(tasks)} training tasks, first reset {1000 * seconds:.1f} ms")
        if self.resumed is None:
            record.start(recipe)
        else:
            record.cut(_iteration(self.resumed))
        with self._phase("load"):
            where = self.resumed or locate(recipe.policy.path)
            model, tokenizer = load_model(where)
            agent = self._agent(where)
            slots = min(recipe.rollout.concurrency, 1024)
            policy = TransformersPolicy(copy.deepcopy(model), tokenizer, name=recipe.policy.path, slots=slots)
            reference = load_model(locate(recipe.policy.path))[0].requires_grad_(False) if recipe.loss.kl else None
        learner = Learner(model, recipe.optim, recipe.loss, recipe.rollout.temperature, reference)
        say(f"policy {recipe.policy.path}: {parameters(model) / 1e6:.2f}M parameters; {_memory(model, recipe)}")
        for line in probe_template(tokenizer):
            say(f"note: {line}")
        first, state = 0, {}
        if self.resumed is not None:
            saved = checkpoint.load_state(self.resumed)
            learner.load(saved["learner"])
            first, state, self.spent = int(saved["iteration"]), saved["credit"], float(saved["seconds"])
            policy.version = first
            say(f"resumed after {first} of {recipe.iterations} iterations")
        if self.resumed is None:  # the first good checkpoint is where the run begins
            self._save(0, learner, tokenizer, agent, state, True)
        before = self._measure("before", suite, policy, agent)
        rollout = Rollout(
            policy,
            agent,
            recipe.limits,
            recipe.rollout.concurrency,
            recipe.rollout.deterministic,
            recipe.rollout.workers,
        )
        history = [line["success"] for line in record.metrics()]
        stopped: str | None = None
        done = first
        try:
            for iteration in range(first, recipe.iterations):
                metrics, state = self._iterate(iteration, tasks, rollout, learner, policy, plan, state)
                done = iteration + 1
                history.append(metrics["success"])
                record.log(metrics)
                self.observer.iteration(metrics, recipe.iterations)
                stopped = _collapsed(history)
                if done % recipe.checkpoint_every == 0 or done == recipe.iterations or stopped:
                    saved_at = range(recipe.checkpoint_every, done, recipe.checkpoint_every)
                    best = all(_smooth(history) >= _smooth(history[:at]) for at in saved_at)
                    self._save(done, learner, tokenizer, agent, state, best)
                if stopped:
                    break
        except KeyboardInterrupt:
            if done > first:
                self._save(done, learner, tokenizer, agent, state, False)
            say(f"stopped after {done} iterations; go on with: agentrl train --resume {record.folder}")
            raise
        finally:
            rollout.close()
            record.close()
        if stopped:
            good = record.checkpoints / "best"
            if good.exists():
                checkpoint.point(record.checkpoints, "last", good.resolve())
                policy.update(load_model(good.resolve())[0].state_dict(), _iteration(good))
            kept = _iteration(record.checkpoints / "last")
            say(f"warning: {stopped}; checkpoints/last is now the best one, of iteration {kept}")
        after = self._measure("after", suite, policy, agent)
        return self._finish(before, after, stopped)

    # -- one iteration ---------------------------------------------------------------------------------------------

    def _iterate(
        self,
        iteration: int,
        tasks: Sequence[Task],
        rollout: Rollout,
        learner: Learner,
        policy: TransformersPolicy,
        plan: credit.Plan,
        state: dict[str, Any],
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        recipe = self.recipe
        begin = time.perf_counter()
        groups = self._jobs(iteration, tasks)
        jobs = [job for group in groups for job in group]
        self.observer.phase("rollout", len(jobs))
        failures, env_seconds, agent_seconds = dict(rollout.failures), rollout.env_seconds, rollout.agent_seconds
        policy.counters = type(policy.counters)()
        with self._phase("rollout") as rolled:
            played = asyncio.run(rollout.run(jobs, self.observer.episode, recipe.rollout.retries))
        by_group: dict[str, list[Trajectory]] = {}
        for trajectory in played:
            by_group.setdefault(trajectory.group, []).append(trajectory)
        made = [Group(group[0].task, group[0].group, by_group.get(group[0].group, [])) for group in groups]
        with self._phase("store"):
            store.write(self.record.trajectories, f"{iteration:06d}", made, iteration=iteration)
        self.observer.phase("update", 0)
        with self._phase("credit"):
            table = credit.TurnTable.from_groups(made, recipe.anchor)
            if not len(table):
                raise UserError(f"no episode of iteration {iteration} could be used: {rollout.failures}")
            given = credit.assign(table, recipe.rewards, recipe.credit, state)
            kept = {t.id: t for t in played}
            ordered = [kept[id] for id in given.table.ids]
            samples = samples_of(ordered, given.advantages, given.table.start.tolist())
        with self._phase("update"):
            seed = derive(recipe.seed, "minibatches", iteration)
            updated = learner.update(samples, seed, iteration / recipe.iterations)
        with self._phase("sync"):
            policy.update(learner.model.state_dict(), iteration + 1)
        counters = policy.counters
        trusted = [t for t in played if t.trusted]
        turns = [turn for t in trusted for turn in t.turns]
        seconds = time.perf_counter() - begin
        metrics: dict[str, Any] = {
            "iteration": iteration,
            "episodes": (iteration + 1) * len(jobs),
            "success": float(np.mean([t.success for t in trusted])),
            "return": float(np.mean([t.reward for t in trusted])),
            "turns": float(np.mean([len(t.turns) for t in trusted])),
            "tokens_per_turn": float(np.mean([len(turn.completion_ids) for turn in turns])),
            "invalid_share": float(np.mean([not turn.valid for turn in turns])),
            "segments_per_episode": len(samples) / len(ordered),
            "seconds": seconds,
            "tokens_per_second": counters.sampled_tokens / max(1e-9, rolled()),
            "success_by_type": _by_type(trusted),
            "stops": {s: sum(t.stop.value == s for t in played) for s in sorted({t.stop.value for t in played})},
            "failures": {k: v - failures.get(k, 0) for k, v in rollout.failures.items() if v > failures.get(k, 0)},
            "policy": {
                "prefill_ratio": counters.prefill_tokens / max(1, counters.new_tokens),
                "padding_share": counters.padding_share,
                "seconds": counters.seconds,
            },
            "credit": given.diagnostics,
            "update": updated,
            "time": {
                "rollout": rolled(),
                "policy": counters.seconds,
                "environment": rollout.env_seconds - env_seconds,
                "agent": rollout.agent_seconds - agent_seconds,
            },
        }
        return metrics, dict(given.state)

    def _jobs(self, iteration: int, tasks: Sequence[Task]) -> list[list[Job]]:
        """The iteration's tasks come from a shuffled list, pass after pass: nothing to save for a resume."""
        recipe = self.recipe
        groups = []
        for k in range(recipe.rollout.tasks):
            number, index = divmod(iteration * recipe.rollout.tasks + k, len(tasks))
            task = tasks[_shuffled(recipe.seed, number, len(tasks))[index]]
            group = f"{iteration:06d}-{k:03d}"
            groups.append(
                [
                    Job(
                        id=f"{group}-{r:03d}",
                        task=task,
                        seed=derive(recipe.seed, "rollout", iteration, task.key, r),
                        group=group,
                        key=(k, r),
                        temperature=recipe.rollout.temperature,
                    )
                    for r in range(recipe.rollout.group)
                ]
            )
        return groups

    # -- around the iterations ------------------------------------------------------------------------------------

    def _tasks(self) -> list[Task]:
        recipe = self.recipe
        if not recipe.env:
            raise UserError("the recipe names no environment: set env")
        found = registry.resolve(recipe.env)
        ids = registry.split(found.spec, found.split or "train", recipe.kwargs)
        kwargs = tuple(sorted(recipe.kwargs.items()))
        return [Task(found.spec.id, id, kwargs) for id in ids]

    def _agent(self, where: Path | str) -> AgentConfig:
        taught = load_agent(where)
        return self.recipe.agent or taught or AgentConfig()

    def _measure(
        self, name: str, suite: suites.Suite | None, policy: TransformersPolicy, agent: AgentConfig
    ) -> dict[str, Any] | None:
        if suite is None:
            return None
        known: dict[str, Any] | None = self.record.read_json(f"{name}.json") if name == "before" else None
        if known is not None:
            return known
        self.observer.phase(f"evaluate {name}", len(suite.tasks()) * suite.attempts)
        with self._phase("evaluate"):
            found = evaluate(suite, policy, agent=agent, name=name, on_done=lambda t, n: self.observer.episode(t))
        self.observer.note(f"{name}: success {found.overall} ({suite.name})")
        self.record.json(f"{name}.json", found.plain())
        if name == "after":
            self.record.examples(found.trajectories)
        return found.plain()

    def _save(
        self, done: int, learner: Learner, tokenizer: Any, agent: AgentConfig, state: dict[str, Any], best: bool
    ) -> None:
        with self._phase("checkpoint"):
            seconds = self.spent + time.perf_counter() - self.begin
            saved = {"learner": learner.state(), "iteration": done, "credit": state, "seconds": seconds}
            path = checkpoint.save(self.record.checkpoints, done, learner.model, tokenizer, agent.model_dump(), saved)
            if best:
                checkpoint.point(self.record.checkpoints, "best", path)

    def _finish(self, before: dict[str, Any] | None, after: dict[str, Any] | None, stopped: str | None) -> Run:
        self.record.curve()
        rate = ("success", "ci_low", "ci_high", "episodes")
        summary = {
            "before": {key: before[key] for key in rate} if before else None,
            "after": {key: after[key] for key in rate} if after else None,
            "wall_s": self.spent + time.perf_counter() - self.begin,
            "phases": self.phases,
            "seed": self.recipe.seed,
            "iterations": _iteration(self.record.checkpoints / "last"),
            "stopped": stopped,
        }
        self.record.json("summary.json", summary)
        return Run(self.record.folder, summary)

    @contextlib.contextmanager
    def _phase(self, name: str) -> Iterator[Callable[[], float]]:
        """Add the seconds within to ``phases[name]``; gives a function that tells them."""
        begin = time.perf_counter()
        took: list[float] = []
        try:
            yield lambda: took[0] if took else time.perf_counter() - begin
        finally:
            took.append(time.perf_counter() - begin)
            self.phases[name] = self.phases.get(name, 0.0) + took[0]


def load_agent(where: Path | str) -> AgentConfig | None:
    """How a stored policy was taught to talk."""
    path = Path(where) / "agent.json"
    return AgentConfig.model_validate(json.loads(path.read_text())) if path.exists() else None


def _iteration(path: Path) -> int:
    name = path.resolve().name
    return int(name) if path.exists() and name.isdigit() else 0


@functools.lru_cache(maxsize=4)
def _shuffled(seed: int, number: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(derive(seed, "tasks", number)).shuffle(order)
    return order


def _smooth(history: Sequence[float]) -> float:
    return float(np.mean(history[-WINDOW:]))


def _collapsed(history: Sequence[float]) -> str | None:
    """Why a run should stop: success fell to less than half of what it was, for as long as the window."""
    if len(history) < 2 * WINDOW:
        return None
    best = max(_smooth(history[: i + 1]) for i in range(WINDOW - 1, len(history)))
    now = _smooth(history)
    if best >= 0.1 and now < 0.5 * best:
        return f"collapse: success fell from {best:.0%} to {now:.0%} (means of {WINDOW} iterations)"
    return None


def _by_type(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    kinds: dict[str, list[bool]] = {}
    for t in trajectories:
        kinds.setdefault(str(t.info.get("task_type", t.task.env)), []).append(t.success)
    return {kind: float(np.mean(kinds[kind])) for kind in sorted(kinds)}


def _memory(model: Any, recipe: Recipe) -> str:
    """What the run will hold at most, roughly."""
    n = parameters(model)
    config = model.config.get_text_config()
    weights = n * 4 * (5 + (1 if recipe.loss.kl else 0))  # two copies, gradient, two moments
    hidden = recipe.optim.positions * config.hidden_size * config.num_hidden_layers * 4 * 16
    total = weights + hidden + (1 << 25) * 12
    return f"about {math.ceil(total / 2**20)} MiB at the peak of an update"
