"""The host's side of ``guest.py``: a session over a pair of pipes, however the guest was started."""

from __future__ import annotations

import base64
import json
import os
import select
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from agentrl.tools.sandboxes.base import Limits, Run, SandboxError, Session

_SLACK = 5.0  # seconds that a guest may be late before it counts as stuck
_START = 30.0  # seconds that a guest may take to start


class Guest(Protocol):
    """A started guest: descriptors to write to and read from, and how to end it for good."""

    stdin: int
    stdout: int

    def kill(self) -> None: ...
    def complaint(self) -> str: ...


class GuestSession(Session):
    """A session with a guest that is replaced where it died. May be used from one thread at a time."""

    def __init__(self, launch: Callable[[], Guest], limits: Limits) -> None:
        self._launch, self.limits = launch, limits
        self._guest: Guest | None = None
        self._kill: Callable[[], Any] = lambda: None
        self._pending = b""
        self._busy = threading.Lock()
        self._start()

    def run(self, code: str) -> Run:
        begin = time.monotonic()
        try:
            answer = self._ask(self.limits.wall + _SLACK, op="run", code=code.encode("utf-8", "replace").decode())
        except _Gone as gone:
            self._start()
            return Run("", f"{gone}", gone.limit, True, time.monotonic() - begin)
        run = Run(**answer)
        if run.stopped == "disk":  # too many files to clear away: a new sandbox instead
            self._end()
            self._start()
        return run

    def write(self, path: str, data: bytes) -> None:
        """Put a file into the session's folder. Raises SandboxError where the path leaves it or the disk is full."""
        self._exchange(op="write", path=path, data=base64.b64encode(data).decode())

    def read(self, path: str) -> bytes:
        """A file of the session's folder. Raises SandboxError where there is no such regular file."""
        return base64.b64decode(self._exchange(op="read", path=path)["data"])

    def alive(self) -> bool:
        """Whether the guest answers."""
        try:
            self._ask(_START, op="hello")
        except (_Gone, SandboxError):
            return False
        return True

    def close(self) -> None:
        self._end()

    def _exchange(self, **request: Any) -> dict[str, Any]:
        try:
            answer = self._ask(_START, **request)
        except _Gone as gone:
            self._start()
            raise SandboxError(f"the sandbox ended: {gone}") from None
        if "failed" in answer:
            raise SandboxError(answer["failed"])
        return answer

    def _start(self) -> None:
        self._guest, self._pending = self._launch(), b""
        self._kill = weakref.finalize(self, self._guest.kill)  # a session nobody closed is not left running
        try:
            self._ask(_START, op="hello")
        except _Gone as gone:
            raise SandboxError(f"the sandbox did not start: {gone}") from None

    def _end(self) -> None:
        self._guest = None
        self._kill()

    def _ask(self, seconds: float, **request: Any) -> dict[str, Any]:
        guest = self._guest
        if guest is None:
            raise SandboxError("the session is closed")
        with self._busy:
            try:
                _write_all(guest.stdin, json.dumps(request).encode() + b"\n")
                line = self._line(guest.stdout, time.monotonic() + seconds)
                answer: dict[str, Any] = json.loads(line)
                return answer
            except (OSError, ValueError, _Gone) as error:
                complaint = guest.complaint()
                self._end()
                limit = error.limit if isinstance(error, _Gone) else None
                raise _Gone(complaint or str(error), limit) from None

    def _line(self, stdout: int, deadline: float) -> bytes:
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            poll = select.poll()
            poll.register(stdout, select.POLLIN)
            if left <= 0 or not poll.poll(left * 1000):
                raise _Gone("it stopped answering", "wall")
            data = os.read(stdout, 1 << 20)
            if not data:
                raise _Gone("its processes ended")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line


class _Gone(Exception):
    def __init__(self, why: str, limit: str | None = None) -> None:
        super().__init__(why)
        self.limit = limit


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
