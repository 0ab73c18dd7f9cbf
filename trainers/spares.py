"""Spare siblings of a training group: who is asked for more, and whose place they take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentrl.rollout.episode import Job
from agentrl.seeds import derive
from agentrl.types import Trajectory, grouped


def with_spares(jobs: Sequence[Job], spares: int) -> list[Job]:
    """``jobs`` with ``spares`` more of each group after its last, from the same start with other draws."""
    last = {job.group: i for i, job in enumerate(jobs)}
    found: list[Job] = []
    for i, job in enumerate(jobs):
        found.append(job)
        for k in range(spares if last[job.group] == i else 0):
            seed = derive(job.seed, "spare", k)
            found.append(replace(job, id=f"{job.id}+{k}", seed=seed, key=(*job.key, k), spare=True))
    return found


def fill(jobs: Sequence[Job], asked: Sequence[Job], played: Sequence[Trajectory]) -> list[Trajectory]:
    """One trajectory for each of ``jobs``: its own, or where that broke a whole one of its group's spares."""
    found = {t.id: t for t in played}
    whole = (job for job in asked if job.spare and job.id in found and found[job.id].trusted)
    spares = grouped(whole, lambda job: job.group)
    return [
        found[job.id if found[job.id].trusted or not spares.get(job.group) else spares[job.group].pop(0).id]
        for job in jobs
    ]
