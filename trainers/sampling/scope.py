"""SCOPE: failed episodes start again at their first bad turn, which the environment's expert takes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from agentrl.rollout.stem import Stem
from agentrl.rollout.teacher import label_of
from agentrl.trainers.sampling.base import Brancher, Setting, Start
from agentrl.types import Group, Trajectory


class SCOPE(Brancher):
    """``roots`` episodes, three quarters of the group by default; the others correct those that failed.

    The first bad turn of a failure is the first in which the policy did other than the expert would have done. The
    expert takes that turn, which nobody trains, and the policy goes on. Slots that no failure needs are fresh episodes.

    Source: SCOPE, from its abstract; there a drop in value names the turn.
    """

    labels: ClassVar[bool] = True
    roots: int | None = Field(None, ge=1)

    def begin(self, setting: Setting) -> int:
        return min(self.roots or max(1, 3 * setting.size // 4), setting.size)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        missing = setting.size - len(group)
        if missing <= 0 or any(t.parent for t in group):
            return []
        bad = [(t, first_bad(t)) for t in group if t.trusted and not t.success]
        starts = [
            Start(group.task, Stem(t, turn), guide=label_of(t.turns[turn])) for t, turn in bad if turn is not None
        ]
        return (starts + [Start(group.task)] * missing)[:missing]


def first_bad(trajectory: Trajectory) -> int | None:
    """The first turn in which it did other than the expert's label; None where there is none."""
    for index, turn in enumerate(trajectory.turns):
        label = label_of(turn)
        if label is not None and turn.action != label:
            return index
    return None
