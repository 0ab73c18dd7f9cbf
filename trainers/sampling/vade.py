"""VADE: Thompson sampling of the tasks whose outcome is the least certain."""

from __future__ import annotations

import random
from collections.abc import Sequence

from pydantic import Field

from agentrl.seeds import derive
from agentrl.trainers.sampling.base import Setting, Start, TaskSource
from agentrl.types import Group, Task


class VADE(TaskSource):
    """For each task ``theta ~ Beta(a, b)``; the ``n`` tasks with the largest ``theta (1 - theta)`` are played.

    ``a`` and ``b`` begin at 1. A visit makes them ``1 + decay (a - 1) + wins`` and ``1 + decay (b - 1) + losses``; all
    others move towards 1 by ``forget`` each iteration, so that no task is given up for ever.

    Source: VADE, from its abstract; the constants, and decay towards the prior, are choices.
    """

    decay: float = Field(0.9, ge=0, le=1)
    forget: float = Field(0.99, ge=0, le=1)

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        rng = random.Random(derive(setting.seed, "vade", played))
        beliefs = self.state.setdefault("beliefs", {})
        draws = [rng.betavariate(*beliefs.get(task.key, (1.0, 1.0))) for task in tasks]
        best = sorted(range(len(tasks)), key=lambda i: (abs(draws[i] - 0.5), i))
        return [Start(tasks[i]) for i in (best * -(-n // len(best)))[:n]]

    def observe(self, groups: Sequence[Group]) -> None:
        beliefs = self.state.setdefault("beliefs", {})
        seen = {group.task.key: [t.success for t in group if t.trusted] for group in groups}
        for key, (a, b) in beliefs.items():
            keep = self.decay if seen.get(key) else self.forget
            beliefs[key] = (1 + keep * (a - 1), 1 + keep * (b - 1))
        for key, won in seen.items():
            if won:
                a, b = beliefs.get(key, (1.0, 1.0))
                beliefs[key] = (a + sum(won), b + len(won) - sum(won))
