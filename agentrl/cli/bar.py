"""The progress bar of commands that take their time: on stderr, and only at a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agentrl.trainers.progress import Observer
from agentrl.types import Trajectory


class Bar(Observer):
    """Use it as a context manager. ``what`` is being counted, up to ``total`` where that is known."""

    def __init__(self, what: str, total: int | None = None) -> None:
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(what, total=total)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, **changes: Any) -> None:
        """``advance``, ``completed``, ``total``, ``description``."""
        self._progress.update(self._task, **changes)

    def phase(self, name: str, total: int) -> None:
        self._progress.reset(self._task, total=total, description=name)

    def episode(self, trajectory: Trajectory) -> None:
        self.update(advance=1)
