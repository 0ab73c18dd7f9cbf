"""The one function that measures a policy: training calls it before and after, ``agentrl eval`` calls it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from agentrl.agents.chat import AgentConfig
from agentrl.evaluation.report import Report, report, task_name
from agentrl.evaluation.spool import Spool
from agentrl.evaluation.suites import Suite
from agentrl.policies.base import AnyPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.types import Trajectory


def evaluate(
    suite: Suite,
    policy: AnyPolicy,
    *,
    agent: AgentConfig | None = None,
    name: str = "",
    identity: str = "",
    attempts: int | None = None,
    limit: int | None = None,
    workers: int = 0,
    seed: int = 0,
    out: Path | None = None,
    on_done: Callable[[Trajectory, int], None] | None = None,
) -> Report:
    """Play every task of ``suite`` and report. ``limit`` keeps its first tasks only.

    Episodes are the same whoever calls: their seeds depend on suite, task, attempt and ``seed``, their batches on the
    order of tasks. With ``out`` every episode is stored there as it ends, and a later call, after a kill say, plays
    only what is missing. Raises UserError where another evaluation is stored there; ``identity`` tells policies of
    one name apart.
    """
    placed = suite.placed()[:limit]
    jobs = [
        Job(
            id=f"{suite.name}/{task_name(task)}/{attempt}",
            task=task,
            seed=derive(seed, "evaluate", task.key, attempt),
            group=task.key,
            key=(index, attempt),
            temperature=suite.temperature,
        )
        for index, (task, _) in enumerate(placed)
        for attempt in range(attempts or suite.attempts)
    ]
    spool = Spool(out, f"{suite.name} {suite.model_dump_json()} {name} {identity} {seed}\n") if out else None
    done = spool.finished() if spool else {}
    left = [job for job in jobs if job.id not in done]
    rollout = Rollout(
        policy, agent or AgentConfig(), Limits(turn_tokens=suite.turn_tokens), deterministic=True, workers=workers
    )

    parts = {task_name(task): part for task, part in placed}

    def tell(trajectory: Trajectory) -> None:
        part = parts[task_name(trajectory.task)]
        trajectory.info |= {"split": part.split} | ({"level": part.level} if part.level else {})
        if spool and trajectory.trusted:
            spool.add(trajectory)
        if on_done:
            on_done(trajectory, len(left))

    try:
        for trajectory in asyncio.run(rollout.run(left, tell, retries=1)):
            done[trajectory.id] = trajectory
    finally:
        rollout.close()
        if spool:
            spool.gather()
    found = report(suite.name, name or policy.name, [done[job.id] for job in jobs])
    if spool:
        spool.write("report.json", found.json() + "\n")
        spool.write("report.md", found.markdown())
    return found
