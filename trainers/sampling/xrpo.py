"""XRPO: after a first phase, one episode at a time goes where it narrows the estimate the most, and tasks that nobody
solved are tried with solved ones in view."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from statistics import NormalDist, stdev

from pydantic import Field

from agentrl.trainers.sampling.base import Budget, Setting, Start
from agentrl.types import Group, Observation, text_of

SOLVED = 1000  # examples of an environment that are remembered
LETTERS = 2000  # of the first observation that an example shows


class XRPO(Budget):
    """``share`` of the episodes are spread evenly; each further one goes to the task of highest priority.

    ``h(n) - h(n+1) + explore sqrt(ln N / n)``: n episodes of this task and N in all so far, ``h(n)`` the half-width of
    the Student interval of its mean return. Tasks whose returns are all alike have the second term only.

    Where the first phase brought a group nothing, its further episodes are told how ``examples`` tasks of the same
    environment were solved, those that begin most alike first. The novelty of successes is ``xrpo-novelty``, of credit.

    Source: XRPO (arXiv 2510.06672), from a review; the constants are choices.
    """

    share: float = Field(0.5, gt=0, le=1)
    level: float = Field(0.95, gt=0, lt=1)
    explore: float = Field(0.1, ge=0)
    examples: int = Field(0, ge=0, description="solved examples in the prompts of tasks that nobody solved")

    def counts(self, starts: Sequence[Start], setting: Setting) -> list[int]:
        return [max(2, round(self.share * setting.size))] * len(starts)

    def more(self, groups: Sequence[Group], setting: Setting) -> list[list[Start]]:
        returns = [[t.reward for t in group if t.trusted] for group in groups]
        n = [max(2, len(own)) for own in returns]
        spread = [stdev(own) if len(own) > 1 else 0.0 for own in returns]
        hints = [self._examples(group) if not any(own) else "" for group, own in zip(groups, returns, strict=True)]
        asked: list[list[Start]] = [[] for _ in groups]
        for _ in range(setting.size * len(groups) - sum(map(len, groups))):
            bonus = self.explore * math.sqrt(math.log(sum(n)))
            priority = [
                half_width(s, k, self.level) - half_width(s, k + 1, self.level) + bonus / math.sqrt(k)
                for s, k in zip(spread, n, strict=True)
            ]
            best = heapq.nlargest(1, range(len(groups)), key=lambda i: (priority[i], -i))[0]
            asked[best].append(Start(groups[best].task, hint=hints[best]))
            n[best] += 1
        return asked

    def observe(self, groups: Sequence[Group]) -> None:
        for group in groups if self.examples else ():
            won = [t for t in group if t.trusted and t.success and t.whole]
            if won:
                best = min(won, key=lambda t: len(t.turns))
                actions = "; ".join(str(turn.action) for turn in best.turns if turn.valid and turn.action is not None)
                kept = self.state.setdefault(group.task.env, {})
                kept.pop(group.task.key, None)
                kept[group.task.key] = [_shown(best.turns[0].observation), actions]
                while len(kept) > SOLVED:
                    del kept[next(iter(kept))]

    def _examples(self, group: Group) -> str:
        """What is told: the solved tasks whose first observations share most words with this one's."""
        first = next((t.turns[0].observation for t in group if t.turns), "")
        words = set(_shown(first).split())
        solved = [told for key, told in self.state.get(group.task.env, {}).items() if key != group.task.key]
        near = heapq.nlargest(self.examples, solved, key=lambda told: len(words & set(told[0].split())))
        return "\n\n".join(f"Solved example:\n{shown}\nSolution: {actions}" for shown, actions in near)


def _shown(observation: Observation) -> str:
    """The words of an observation, cut to what an example may take."""
    said = observation if isinstance(observation, str) else "\n".join(text_of(m["content"]) for m in observation)
    return said[:LETTERS]


def half_width(spread: float, n: int, level: float = 0.95) -> float:
    """Of the Student interval of a mean of ``n`` >= 2 values with this sample deviation.

    The quantile is the Cornish-Fisher expansion of the normal one: 1% off from six values on, more below.
    """
    z, dof = NormalDist().inv_cdf(0.5 + level / 2), n - 1
    t = z + (z**3 + z) / (4 * dof) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
    return t * spread / math.sqrt(n)
