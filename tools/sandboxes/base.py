"""The protocol of a sandbox: what it holds a session to, what a session can do, what a run gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Limits:
    """What a session may use. ``wall``, ``cpu`` and ``output`` count anew with every run; sizes are in bytes.

    ``memory`` holds for one process and for all of them together; ``disk`` for all files of the session. ``cpu`` adds
    up over all processes.
    """

    wall: float = 10.0
    cpu: float = 10.0
    memory: int = 512 << 20
    processes: int = 64
    disk: int = 64 << 20
    output: int = 64 << 10


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave: the text that was written (stdout and stderr, in order) and how it ended.

    ``error`` is the last line of the traceback. ``stopped`` names the limit that ended the run. ``restarted``: the
    interpreter had to be replaced, so variables are gone (after the local sandbox's replacement, files too).
    """

    output: str
    error: str | None = None
    stopped: str | None = None
    restarted: bool = False
    seconds: float = 0.0


class SandboxError(Exception):
    """The sandbox itself failed: it could not be started, or refused a file. Not the fault of the code in it."""


class Session(Protocol):
    """A Python interpreter that keeps its variables from run to run. Files are named relative to its folder."""

    def run(self, code: str) -> Run: ...
    def write(self, path: str, data: bytes) -> None: ...
    def read(self, path: str) -> bytes: ...
    def alive(self) -> bool: ...
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Sandbox(Protocol):
    """Opens sessions. Raises UserError where the machine lacks what confinement needs."""

    def open(self, limits: Limits) -> Session: ...
