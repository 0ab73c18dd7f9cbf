"""What a run tells while it goes on: to who watches, and how long each phase took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from agentrl.types import Trajectory


class Observer:
    """What the terminal shows; every method may be left as it is."""

    def note(self, line: str) -> None: ...
    def status(self, line: str) -> None: ...
    def phase(self, name: str, total: int) -> None: ...
    def episode(self, trajectory: Trajectory) -> None: ...
    def iteration(self, metrics: dict[str, Any], total: int) -> None: ...


class Phases(dict[str, float]):
    """Seconds by phase."""

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[], float]]:
        """Add the seconds within to ``self[name]``; gives a function that tells them."""
        begin = time.perf_counter()
        took: list[float] = []
        try:
            yield lambda: took[0] if took else time.perf_counter() - begin
        finally:
            took.append(time.perf_counter() - begin)
            self[name] = self.get(name, 0.0) + took[0]
