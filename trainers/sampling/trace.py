"""TRACE: whole episodes where a task's outcome is open, continuations where a turn could still turn it round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field

from agentrl.rollout.stem import Stem
from agentrl.trainers.credit.allocation import trace_prefix_alloc, trace_root_alloc
from agentrl.trainers.sampling.base import Budget, Setting, Start
from agentrl.types import Group, Trajectory

KEPT = 50_000  # states that are remembered


class TRACE(Budget):
    """Root stage: :func:`trace_root_alloc` over the tasks. Then each task gets ``branches`` continuations for each of
    its episodes, by :func:`trace_prefix_alloc` over all turns of all of them.

    Success is predicted from counts instead of the paper's regression: that of a state key, drawn towards that of its
    task, drawn towards that of all tasks, each by ``strength`` tries' worth. The total is that of equal groups.

    Source: TRACE (arXiv 2606.11119), from second hand.
    """

    branches: ClassVar[bool] = True
    continuations: int = Field(1, ge=1, description="continuations for every whole episode")
    most: int = Field(16, ge=2, description="whole episodes a task")
    strength: float = Field(4.0, gt=0)

    def counts(self, starts: Sequence[Start], setting: Setting) -> list[int]:
        budget = max(2, setting.size * len(starts) // (1 + self.continuations))
        return trace_root_alloc([self._predict(start.task.key) for start in starts], budget, self.most)[0]

    def more(self, groups: Sequence[Group], setting: Setting) -> list[list[Start]]:
        return [self._continued(group) for group in groups]

    def observe(self, groups: Sequence[Group]) -> None:
        for group in groups:
            for t in group:
                if t.trusted:
                    own = t.turns[t.shared :] if t.parent else t.turns
                    for key in {"", group.task.key, *(f"{group.task.key} {turn.state_key}" for turn in own)}:
                        wins, tries = self.state.pop(key, [0, 0])
                        self.state[key] = [wins + t.success, tries + 1]
        while len(self.state) > KEPT:
            del self.state[next(iter(self.state))]

    def _continued(self, group: Group) -> list[Start]:
        played = [t for t in group if t.trusted]
        places = [(t, turn) for t in played for turn in range(1, len(t.turns))]
        nodes = [(float(t.success), self._value(t, turn)) for t, turn in places]
        chosen, _ = trace_prefix_alloc(nodes, len(played) * self.continuations)
        return [Start(group.task, Stem(t, turn)) for (t, turn), k in zip(places, chosen, strict=True) for _ in range(k)]

    def _value(self, trajectory: Trajectory, turn: int) -> float:
        key = trajectory.task.key
        return self._shrunk(f"{key} {trajectory.turns[turn].state_key}", self._predict(key))

    def _predict(self, task: str) -> float:
        return self._shrunk(task, self._shrunk("", 0.5))

    def _shrunk(self, key: str, towards: float) -> float:
        known: Any = self.state.get(key, (0, 0))
        return float((known[0] + self.strength * towards) / (known[1] + self.strength))
