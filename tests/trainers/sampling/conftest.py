"""Groups that a scripted policy played: what is asked for is played at once, by rule."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from agentrl.rollout.episode import Job
from agentrl.trainers.recipe import RolloutConfig
from agentrl.trainers.sampling import Sampling
from agentrl.types import Group, StopReason, Task, Trajectory, Turn


def turn(entropies: Sequence[float] = (1.0,), key: str = "", reward: float = 0.0) -> Turn:
    n = len(entropies)
    return Turn(
        "o",
        state_key=key,
        prompt_ids=[1],
        completion_ids=[2] * n,
        logprobs=[-1.0] * n,
        entropies=list(entropies),
        versions=[(0, 0)] if n else [],
        rewards={"goal": reward} if reward else {},
    )


class World:
    """Plays jobs: ``length`` turns, won with ``chance`` of the task by the job's own draw."""

    def __init__(self, length: int = 4, chance: Callable[[Task], float] = lambda task: 0.5, fail: Sequence[str] = ()):
        self.length, self.chance, self.fail = length, chance, fail
        self.waves: list[list[Job]] = []

    async def play(self, jobs: Sequence[Job]) -> list[Trajectory]:
        self.waves.append(list(jobs))
        return [self.one(job) for job in jobs]

    def one(self, job: Job) -> Trajectory:
        t = Trajectory(job.id, job.task, job.seed, group=job.group)
        if job.stem is not None:
            job.stem.mark(t)
        draw = np.random.default_rng(job.seed % 2**32)
        while len(t.turns) < self.length:
            t.turns.append(turn(draw.random(3).tolist(), key=f"{job.task.id}/{len(t.turns)}"))
        t.success = bool(draw.random() < self.chance(job.task))
        t.turns[-1].rewards = {"goal": float(t.success)}
        if job.id.endswith(tuple(self.fail)) and self.fail:
            t.stop = StopReason.ENV_ERROR
        return t


@pytest.fixture
def tasks() -> list[Task]:
    return [Task("T-v0", i) for i in range(20)]


def sampling(seed: int = 0, **config: object) -> Sampling:
    made = Sampling.of(RolloutConfig.model_validate({"tasks": 4, "group": 8, "deterministic": True} | config), seed)
    made.vocabulary = 100
    return made


def play(made: Sampling, tasks: Sequence[Task], world: World, iteration: int = 0) -> list[Group]:
    made_groups, dropped = asyncio.run(made.play(iteration, tasks, world.play))
    made.observe([*made_groups, *dropped])
    return made_groups
