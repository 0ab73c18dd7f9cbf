"""Curriculum: tasks that are neither too hard nor too easy by now, or no longer than what has been learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from agentrl.trainers.sampling.base import Setting, Start, TaskSource
from agentrl.trainers.sampling.tally import success, tally
from agentrl.trainers.sampling.uniform import cycled
from agentrl.types import Group, Task


class Curriculum(TaskSource):
    """Tasks in the order of ``uniform``, but those outside the band are passed over; unknown ones are let in.

    ``by="success"``: the share of a task's tries that were won lies within ``low`` and ``high``. ``by="length"``: its
    shortest win takes at most as many turns as the level, which starts at ``start`` and rises by ``step`` after an
    iteration with more than ``high`` successes. At most ``tries`` times as many tasks as are wanted are looked at.

    Source: the accuracy band of PRIME (0.2 to 0.8), the stages of CRAFT-GUI; constants are choices.
    """

    by: Literal["success", "length"] = "success"
    low: float = Field(0.1, ge=0, le=1)
    high: float = Field(0.9, ge=0, le=1)
    start: int = Field(5, ge=1)
    step: int = Field(3, ge=1)
    tries: int = Field(10, ge=1)

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        at = self.state.setdefault("at", 0)
        looked = cycled(n * self.tries, tasks, at, setting.seed)
        fit = [i for i, task in enumerate(looked) if self._fits(task)][:n]
        chosen = sorted([*fit, *(i for i in range(len(looked)) if i not in fit)][:n])
        self.state["at"] = at + (chosen[-1] + 1 if len(fit) == n else len(looked))
        return [Start(looked[i]) for i in chosen]

    def observe(self, groups: Sequence[Group]) -> None:
        tally(self.state.setdefault("tally", {}), groups)
        played = [t.success for group in groups for t in group if t.trusted and t.whole]
        if played and sum(played) / len(played) > self.high:
            self.state["level"] = self._level + self.step

    @property
    def _level(self) -> int:
        return int(self.state.get("level", self.start))

    def _fits(self, task: Task) -> bool:
        known: dict[str, Any] = self.state.get("tally", {})
        if self.by == "success":
            rate = success(known, task.key)
            return rate is None or self.low <= rate <= self.high
        return bool(known.get(task.key, [0, 0, 0])[2] <= self._level)
