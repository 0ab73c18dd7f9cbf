"""Spare siblings: more episodes are started than a group needs, and the first by number, never by speed, count."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Siblings:
    """One group's episodes while they play. The first ``wanted`` by number count that infrastructure does not break.

    So a spare takes the place of a broken episode at once, and of nobody else. Whoever took the first to finish would
    prefer short episodes, and failures are often short.
    """

    wanted: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    broken: set[int] = field(default_factory=set)
    trimmed: bool = False

    def add(self, task: asyncio.Task[None], spare: bool) -> None:
        self.tasks.append(task)
        self.wanted += not spare
        if spare:
            for sibling in self.tasks:
                sibling.remove_done_callback(self._trim)
                sibling.add_done_callback(self._trim)

    def spared(self, number: int) -> bool:
        """Whether the group is whole without episode ``number``, which broke."""
        if len(self.tasks) - len(self.broken | {number}) < self.wanted:
            return False
        self.broken.add(number)
        return True

    def _trim(self, _: asyncio.Task[None]) -> None:
        """Cancel who is not needed any more, once all who count are done."""
        counting = [task for number, task in enumerate(self.tasks) if number not in self.broken][: self.wanted]
        if not self.trimmed and all(task.done() for task in counting):
            self.trimmed = True
            for task in self.tasks:
                if task not in counting:
                    task.cancel()
