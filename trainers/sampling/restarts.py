"""Restarts: groups that begin in the middle of stored episodes, at turns whose outcome is open."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from agentrl import store
from agentrl.rollout.stem import Stem
from agentrl.trainers.sampling.base import Setting, Start, TaskSource
from agentrl.trainers.sampling.uniform import cycled
from agentrl.types import Group, Task, Trajectory


class Restarts(TaskSource):
    """``share`` of the groups start from a turn of an episode in ``path``, the others from a task's beginning.

    ``pick="uniform"``: any turn. ``pick="late-first"``: turns near the end at first, earlier ones as the run goes on,
    all of them from group ``spread`` on. A turn whose group all won or all lost (or whose success was not below
    ``ceiling``) is not started from again. Episodes of an expert, without tokens, serve as well as a policy's own: what
    was done before the start is told in the agent's words and not trained on.

    Source: DR-PO, and PivotRL (arXiv 2603.21383) with the environment's own reward in place of a match with the
    demonstration; its ``ceiling`` is from memory.
    """

    branches: ClassVar[bool] = True
    path: str = Field(description="run folder, or folder or file of trajectories")
    share: float = Field(0.5, ge=0, le=1)
    pick: Literal["uniform", "late-first"] = "uniform"
    spread: int = Field(200, ge=1)
    successes: bool = Field(True, description="start from episodes that were won only")
    ceiling: float = Field(1.0, gt=0, le=1)

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        wanted = int(self.share * n)
        pivots = [self._pivot(played + k, setting) for k in range(wanted)]
        found = [Start(stem.trajectory.task, stem) for stem in pivots if stem is not None]
        return [*found, *map(Start, cycled(n - len(found), tasks, played, setting.seed))]

    def observe(self, groups: Sequence[Group]) -> None:
        spent = self.state.setdefault("spent", [])
        for group in groups:
            won = [t.success for t in group if t.trusted]
            first = group.trajectories[0].info if len(group) else {}
            if "stem" in first and won and not 0 < sum(won) / len(won) < self.ceiling:
                spent.append([first["stem"], first["stem_turn"]])

    @cached_property
    def _stored(self) -> list[Trajectory]:
        return [
            t
            for g in store.read(self.path)
            for t in g
            if t.trusted and len(t.turns) > 1 and (t.success or not self.successes)
        ]

    def _pivot(self, number: int, setting: Setting) -> Stem | None:
        spent: Any = self.state.get("spent", [])
        for attempt in range(20):
            if not self._stored:
                return None
            t = self._stored[int(setting.draw("restart", number, attempt) * len(self._stored))]
            place = setting.draw("turn", number, attempt)
            if self.pick == "late-first":
                place = 1 - place * min(1.0, (number + 1) / self.spread)
            turn = min(len(t.turns) - 1, max(1, int(place * len(t.turns))))
            if [t.id, turn] not in spent:
                return Stem(t, turn)
        return None
