"""Several environments in one run, by weight: every group is of one of them, and each has a task source of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import PrivateAttr

from agentrl.trainers.sampling.base import Setting, Start, TaskSource
from agentrl.types import Group, Task

Kind = str  # of an environment: its id


class Mixture(TaskSource):
    """Groups are asked for in a fixed order, in which no environment is ever more than one group above its share.

    ``sources``: what chooses among the tasks of each.
    """

    weights: dict[Kind, float]
    sources: dict[Kind, TaskSource]
    _order: list[Kind] = PrivateAttr(default_factory=list)

    @property
    def state(self) -> dict[str, Any]:
        return {kind: source.state for kind, source in self.sources.items()}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        for kind, source in self.sources.items():
            source.state = state[kind]

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        before, turns = self._kinds(played), self._kinds(played + n)[played:]
        found = {}
        for kind, source in self.sources.items():
            own = [task for task in tasks if task.env == kind]
            found[kind] = iter(source.next(turns.count(kind), own, before.count(kind), setting))
        return [next(found[kind]) for kind in turns]

    def observe(self, groups: Sequence[Group]) -> None:
        for kind, source in self.sources.items():
            source.observe([group for group in groups if group.task.env == kind])

    def _kinds(self, n: int) -> list[Kind]:
        """The environments of the first ``n`` groups: each time the one that lacks the most of its share."""
        total = sum(self.weights.values())
        counts = {kind: self._order.count(kind) for kind in self.weights}
        for number in range(len(self._order), n):
            lacks = {kind: (number + 1) * weight / total - counts[kind] for kind, weight in self.weights.items()}
            chosen = max(lacks, key=lambda kind: lacks[kind])
            counts[chosen] += 1
            self._order.append(chosen)
        return self._order[:n]
