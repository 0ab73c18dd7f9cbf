"""Ctrl-C while weights move: it waits until they belong to a whole iteration, which is then saved."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

_TOLD = b"\nfinishing this iteration first; Ctrl-C again stops at once and goes back to the last checkpoint\n"


class Interrupts:
    """From :meth:`hold` to :meth:`release` the first Ctrl-C waits; the second raises where it is.

    ``held`` tells whether weights may be half changed. Outside of the main thread signals are not ours to take, and
    nothing is held back.
    """

    def __init__(self) -> None:
        self.held = False
        self._asked = False
        self._before: Any = None

    def hold(self) -> None:
        if not self.held and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._heard)
        self.held = True

    def release(self) -> None:
        """Raises KeyboardInterrupt where one waited."""
        self.drop()
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def drop(self) -> None:
        """Let Ctrl-C mean again what it did before."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self._before, self.held = None, False

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        os.write(2, _TOLD)
