"""The one function that measures a policy: training calls it before and after, ``agentrl eval`` calls it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.errors import UserError
from agentrl.evaluation.statistics import clustered, wilson
from agentrl.evaluation.suites import Suite
from agentrl.policies.base import Policy, ScriptedPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.types import Group, Trajectory

CHUNK = 256  # episodes between two writes of a resumable evaluation


@dataclass
class Rate:
    """A share of successes with its 95% interval: Wilson's, or by tasks where a task was tried several times."""

    success: float
    ci_low: float
    ci_high: float
    episodes: int

    @classmethod
    def of(cls, trajectories: list[Trajectory]) -> Rate:
        by_task: dict[str, list[float]] = {}
        for t in trajectories:
            by_task.setdefault(t.task.key, []).append(float(t.success))
        wins, n = sum(t.success for t in trajectories), len(trajectories)
        low, high = wilson(wins, n) if len(by_task) == n else clustered(by_task)
        return cls(wins / n if n else 0.0, low, high, n)

    def plain(self) -> dict[str, Any]:
        return {"success": self.success, "ci_low": self.ci_low, "ci_high": self.ci_high, "episodes": self.episodes}

    def __str__(self) -> str:
        return f"{self.success:.1%} [{self.ci_low:.1%}, {self.ci_high:.1%}] of {self.episodes}"


@dataclass
class Report:
    """What an evaluation found. Episodes that infrastructure broke are counted apart, never as failures to succeed."""

    suite: str
    policy: str
    overall: Rate
    by_type: dict[str, Rate]
    by_split: dict[str, Rate]
    turns: float
    tokens: float
    reward: float
    stops: dict[str, int]
    failed: int
    trajectories: list[Trajectory] = field(repr=False, default_factory=list)

    def plain(self) -> dict[str, Any]:
        return {
            "suite": self.suite,
            "policy": self.policy,
            **self.overall.plain(),
            "by_type": {name: rate.plain() for name, rate in self.by_type.items()},
            "by_split": {name: rate.plain() for name, rate in self.by_split.items()},
            "turns": self.turns,
            "tokens": self.tokens,
            "reward": self.reward,
            "stop_reasons": self.stops,
            "failed_episodes": self.failed,
        }


def evaluate(
    suite: Suite,
    policy: Policy | ScriptedPolicy,
    *,
    agent: AgentConfig | None = None,
    name: str = "",
    attempts: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    out: Path | None = None,
    on_done: Callable[[Trajectory, int], None] | None = None,
) -> Report:
    """Play every task of ``suite`` and report. ``limit`` keeps its first tasks only.

    Episodes are the same whoever calls: their seeds depend on suite, task, attempt and ``seed``, their batches on the
    order of tasks. With ``out`` finished episodes are stored there, and a later call plays only what is missing.
    """
    tasks = suite.tasks()[:limit]
    jobs = [
        Job(
            id=f"{suite.name}/{task.id}/{attempt}",
            task=task,
            seed=derive(seed, "evaluate", task.key, attempt),
            group=task.key,
            key=(index, attempt),
            temperature=suite.temperature,
        )
        for index, task in enumerate(tasks)
        for attempt in range(attempts or suite.attempts)
    ]
    done = _stored(out, suite, name) if out else {}
    left = [job for job in jobs if job.id not in done]
    rollout = Rollout(
        policy, agent or AgentConfig(), Limits(turn_tokens=suite.turn_tokens), deterministic=True, workers=workers
    )
    try:
        for start in range(0, len(left), CHUNK if out else max(1, len(left))):
            part = left[start : start + CHUNK] if out else left
            tell = (lambda t: on_done(t, len(jobs))) if on_done else None
            for trajectory in asyncio.run(rollout.run(part, tell, retries=1)):
                if trajectory.trusted:
                    done[trajectory.id] = trajectory
                else:
                    done.setdefault(trajectory.id, trajectory)
            if out:
                kept = [done[job.id] for job in part if done[job.id].trusted]
                groups = [Group(t.task, t.id, [t]) for t in kept]
                store.write(out, f"part-{len(list(out.glob('part-*.parquet'))):05d}", groups)
    finally:
        rollout.close()
    return report(suite.name, name or policy.name, [done[job.id] for job in jobs])


def report(suite: str, policy: str, trajectories: list[Trajectory]) -> Report:
    trusted = [t for t in trajectories if t.trusted]
    kinds: dict[str, list[Trajectory]] = {}
    splits: dict[str, list[Trajectory]] = {}
    for t in trusted:
        kinds.setdefault(str(t.info.get("task_type", t.task.env)), []).append(t)
        splits.setdefault(str(t.info.get("split", "")) or t.task.env, []).append(t)
    stops: dict[str, int] = {}
    for t in trajectories:
        stops[t.stop.value] = stops.get(t.stop.value, 0) + 1
    n = max(1, len(trusted))
    return Report(
        suite,
        policy,
        Rate.of(trusted),
        {kind: Rate.of(kinds[kind]) for kind in sorted(kinds)},
        {split: Rate.of(splits[split]) for split in sorted(splits)},
        turns=sum(len(t.turns) for t in trusted) / n,
        tokens=sum(t.sampled_tokens for t in trusted) / n,
        reward=sum(t.reward for t in trusted) / n,
        stops=stops,
        failed=len(trajectories) - len(trusted),
        trajectories=trajectories,
    )


def _stored(out: Path, suite: Suite, name: str) -> dict[str, Trajectory]:
    out.mkdir(parents=True, exist_ok=True)
    label, mine = out / "evaluation.txt", f"{suite.name} {suite.model_dump_json()} {name}\n"
    if not label.exists():
        label.write_text(mine)
    elif label.read_text() != mine:
        raise UserError(f"{out} holds another evaluation: {label.read_text().split(' ')[0]}; choose another folder")
    if not list(out.glob("part-*.parquet")):
        return {}
    return {t.id: t for group in store.read(out) for t in group}
