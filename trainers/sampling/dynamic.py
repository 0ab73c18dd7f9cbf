"""DAPO's dynamic sampling: groups that all won or all lost are dropped, and other tasks are played in their place."""

from __future__ import annotations

from pydantic import Field

from agentrl.trainers.sampling.base import Filter
from agentrl.types import Group


class Dynamic(Filter):
    """Keeps a group where ``low < success < high``, so that there is something to learn from its differences.

    At most ``rounds`` times more tasks are asked for; the iteration then goes on with what it has.

    Source: DAPO (arXiv 2503.14476); with 0.2 and 0.8 the band of PRIME.
    """

    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)

    def keeps(self, group: Group) -> bool:
        won = [t.success for t in group if t.trusted]
        return bool(won) and self.low < sum(won) / len(won) < self.high
