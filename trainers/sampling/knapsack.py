"""Knapsack RL: episodes go where a group is likely to be mixed and a success would say the most."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from pydantic import Field

from agentrl.trainers.sampling.base import Budget, Setting, Start
from agentrl.trainers.sampling.tally import success, tally
from agentrl.types import Group


class Knapsack(Budget):
    """``n`` of each task, ``least <= n <= most``, so that the sum of ``(1 - p^n - (1-p)^n) p (1-p)^2`` is largest.

    ``p`` is the share of the task's tries that were won so far, 1/2 for a new one and at least ``floor`` for one that
    was never won: at 0 it would get the least for ever. The value is concave in n, so taking the best next episode
    each time is optimal. The total is that of equal groups.

    Source: Knapsack RL (arXiv 2509.25849); the information term is from memory.
    """

    least: int = Field(2, ge=1)
    most: int = Field(128, ge=1)
    floor: float = Field(0.05, gt=0, lt=1)

    def counts(self, starts: Sequence[Start], setting: Setting) -> list[int]:
        rates = [success(self.state, start.task.key) for start in starts]
        return allocate([0.5 if p is None else max(p, self.floor) for p in rates], setting.size, self.least, self.most)

    def observe(self, groups: Sequence[Group]) -> None:
        tally(self.state, groups)


def allocate(rates: Sequence[float], size: int, least: int, most: int) -> list[int]:
    """Episodes for each success rate: ``size`` on average, within the bounds where those leave room."""
    least = min(least, size)
    counts = [least] * len(rates)
    queue = [(-_gain(p, least), i) for i, p in enumerate(rates) if least < most]
    heapq.heapify(queue)
    for _ in range(size * len(rates) - sum(counts)):
        if not queue:
            break
        _, i = heapq.heappop(queue)
        counts[i] += 1
        if counts[i] < most:
            heapq.heappush(queue, (-_gain(rates[i], counts[i]), i))
    return counts


def value(p: float, n: int) -> float:
    """``(1 - p^n - (1-p)^n) p (1-p)^2``."""
    return (1 - p**n - (1 - p) ** n) * p * (1 - p) ** 2


def _gain(p: float, n: int) -> float:
    return value(p, n + 1) - value(p, n)
