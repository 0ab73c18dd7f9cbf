"""XRPO: after a first phase, one episode at a time goes where it narrows the estimate the most."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from statistics import NormalDist, stdev

from pydantic import Field

from agentrl.trainers.sampling.base import Budget, Setting, Start
from agentrl.types import Group


class XRPO(Budget):
    """``share`` of the episodes are spread evenly; each further one goes to the task of highest priority.

    ``h(n) - h(n+1) + explore sqrt(ln N / n)``: n episodes of this task and N in all so far, ``h(n)`` the half-width of
    the Student interval of its mean return. Tasks whose returns are all alike have the second term only. The two other
    parts of the method, solved examples in the context and the novelty of successes, are not here.

    Source: XRPO (arXiv 2510.06672), from a review; the constants are choices.
    """

    share: float = Field(0.5, gt=0, le=1)
    level: float = Field(0.95, gt=0, lt=1)
    explore: float = Field(0.1, ge=0)

    def counts(self, starts: Sequence[Start], setting: Setting) -> list[int]:
        return [max(2, round(self.share * setting.size))] * len(starts)

    def more(self, groups: Sequence[Group], setting: Setting) -> list[list[Start]]:
        returns = [[t.reward for t in group if t.trusted] for group in groups]
        n = [max(2, len(own)) for own in returns]
        spread = [stdev(own) if len(own) > 1 else 0.0 for own in returns]
        asked: list[list[Start]] = [[] for _ in groups]
        for _ in range(setting.size * len(groups) - sum(map(len, groups))):
            bonus = self.explore * math.sqrt(math.log(sum(n)))
            priority = [
                half_width(s, k, self.level) - half_width(s, k + 1, self.level) + bonus / math.sqrt(k)
                for s, k in zip(spread, n, strict=True)
            ]
            best = heapq.nlargest(1, range(len(groups)), key=lambda i: (priority[i], -i))[0]
            asked[best].append(Start(groups[best].task))
            n[best] += 1
        return asked


def half_width(spread: float, n: int, level: float = 0.95) -> float:
    """Of the Student interval of a mean of ``n`` >= 2 values with this sample deviation.

    The quantile is the Cornish-Fisher expansion of the normal one: 1% off from six values on, more below.
    """
    z, dof = NormalDist().inv_cdf(0.5 + level / 2), n - 1
    t = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    return t * spread / math.sqrt(n)
