"""TreePO: a tree of fixed shape, so that every turn is compared with others that share its beginning."""

from __future__ import annotations

from pydantic import Field

from agentrl.trainers.sampling.base import Brancher, Setting, Start
from agentrl.trainers.sampling.rounds import branched
from agentrl.types import Group


class TreePO(Brancher):
    """``divergence`` episodes begin afresh; every ``every`` turns each path becomes ``factor``, up to the group's size.

    The paper branches after segments of a fixed number of tokens; here a segment is ``every`` turns. Goes with the
    estimator ``treepo``.

    Source: TreePO (arXiv 2508.17445).
    """

    divergence: int = Field(2, ge=1)
    factor: int = Field(2, ge=2)
    every: int = Field(1, ge=1)

    def begin(self, setting: Setting) -> int:
        return min(self.divergence, setting.size)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        return branched(group, setting, lambda t, round, u: (round + 1) % self.every == 0, self.factor)
