"""Prompt replay: tasks that were won about half the time come again; their episodes are played anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from agentrl.trainers.sampling.base import Setting, Start, TaskSource
from agentrl.trainers.sampling.uniform import cycled
from agentrl.types import Group, Task


class PromptReplay(TaskSource):
    """Up to ``share`` of the tasks come from a buffer, nearest to a success of one half first, the rest are new.

    A task enters where its group's success lies strictly within ``low`` and ``high``, waits ``cooldown`` iterations,
    and is replayed at most ``uses`` times. Only tasks are kept, so that training stays on-policy.

    Source: Prompt Replay, from its abstract; the constants are choices.
    """

    share: float = Field(0.5, ge=0, le=1)
    low: float = Field(0.0, ge=0, le=1)
    high: float = Field(1.0, ge=0, le=1)
    cooldown: int = Field(2, ge=1)
    uses: int = Field(3, ge=1)

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        known = {task.key: task for task in tasks}
        now = self.state.setdefault("iteration", 0)
        buffer: dict[str, dict[str, Any]] = self.state.setdefault("buffer", {})
        ready = [key for key, kept in buffer.items() if kept["again"] <= now and kept["left"] > 0 and key in known]
        ready.sort(key=lambda key: (abs(buffer[key]["rate"] - 0.5), buffer[key]["again"], key))
        again = ready[: int(self.share * n)]
        for key in again:
            buffer[key]["left"] -= 1
        fresh = cycled(n - len(again), tasks, self.state.setdefault("at", 0), setting.seed)
        self.state["at"] += len(fresh)
        return [Start(task) for task in (*(known[key] for key in again), *fresh)]

    def observe(self, groups: Sequence[Group]) -> None:
        buffer = self.state.setdefault("buffer", {})
        now = self.state["iteration"] = self.state.get("iteration", 0) + 1
        for group in groups:
            won = [t.success for t in group if t.trusted]
            rate = sum(won) / len(won) if won else 0.0
            key = group.task.key
            left = buffer.get(key, {"left": self.uses})["left"]
            if self.low < rate < self.high and left > 0:
                buffer[key] = {"rate": rate, "again": now + self.cooldown - 1, "left": left}
            else:
                buffer.pop(key, None)
