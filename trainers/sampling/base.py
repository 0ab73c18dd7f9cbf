"""The protocols of what is played: task sources, budgets and branchers. A method is one small file.

Options are pydantic fields. A method that learns from what was played keeps it in ``state``, plain data that
checkpoints save; all else depends on its arguments only, so that a resumed run plays the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from agentrl.rollout.stem import Stem
from agentrl.seeds import derive
from agentrl.types import Action, Group, Task, Trajectory


@dataclass(frozen=True, slots=True)
class Start:
    """Where an episode starts: at the task's beginning, or where ``stem`` ends.

    ``hint`` is told after the first observation; ``guide`` is the first action, taken in the policy's place.
    """

    task: Task
    stem: Stem | None = None
    hint: str = ""
    guide: Action | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What a method may know beside the episodes.

    ``size``: episodes a group shall have; ``vocabulary``: tokens of the policy; ``seed``: of the draws, a group's own
    for branchers and an iteration's for the others.
    """

    size: int
    vocabulary: int = 2
    seed: int = 0

    def draw(self, *key: int | str) -> float:
        """A number in [0, 1) that depends on seed and key only."""
        return derive(self.seed, *key) / 2.0**62


class Method(BaseModel):
    model_config = ConfigDict(extra="forbid")

    branches: ClassVar[bool] = False  # whether it starts episodes from stems
    labels: ClassVar[bool] = False  # whether it wants the expert's action in every turn
    entropies: ClassVar[bool] = False  # whether it reads how sure the policy was of its tokens
    _state: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def state(self) -> dict[str, Any]:
        return self._state

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self._state = state

    def observe(self, groups: Sequence[Group]) -> None:
        """Learn from the groups of an iteration."""


class TaskSource(Method):
    """Which tasks an iteration plays."""

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        """``n`` starts, a group each. ``tasks``: those of the split; ``played``: groups that the run has asked for."""
        raise NotImplementedError


class Budget(Method):
    """How many episodes each task gets."""

    def counts(self, starts: Sequence[Start], setting: Setting) -> list[int]:
        """Episodes of each group in the first phase."""
        return [setting.size] * len(starts)

    def more(self, groups: Sequence[Group], setting: Setting) -> list[list[Start]]:
        """A second phase, after all groups are in: more episodes of each. Asked once."""
        return [[] for _ in groups]


class Filter(Method):
    """Which groups an iteration learns from; others are played in place of the rest."""

    rounds: int = Field(10, ge=0, description="how often more tasks are asked for, at most")

    def keeps(self, group: Group) -> bool:
        raise NotImplementedError


class Replay(Method):
    """Which groups get a stored episode in the place of one of their own."""

    def choose(self, group: Group, setting: Setting) -> str | None:
        """The id of an episode of an earlier iteration; none: the group stays as it is."""
        raise NotImplementedError


class Brancher(Method):
    """Which episodes of a group are branched, and where."""

    branches: ClassVar[bool] = True

    def begin(self, setting: Setting) -> int:
        """Fresh episodes that a group begins with."""
        return setting.size

    def more(self, group: Group, setting: Setting) -> list[Start]:
        """More episodes, from what the group holds so far; asked again until it gives none.

        The group is sorted by id, the order in which its episodes were asked for; failed ones are in it.
        """
        raise NotImplementedError

    def keeps(self, group: Group) -> list[Trajectory]:
        """Those of a whole group that are learnt from; the others are stored only."""
        return group.trajectories
