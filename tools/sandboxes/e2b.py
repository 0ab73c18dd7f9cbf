"""The ``e2b`` sandbox: a virtual machine of the E2B service a session. The key is in ``E2B_API_KEY``.

Wall time and output are held to the limits from here; memory, processes and disk are what the service's template
gives. The service ends a machine that nobody has used for a while, so also one whose owner died.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import weakref
from collections.abc import Callable
from typing import Any

import httpx
from e2b import AuthenticationException, SandboxException, TimeoutException
from e2b_code_interpreter import Sandbox as Machine

from agentrl.errors import UserError
from agentrl.tools.sandboxes.base import Limits, Run, SandboxError, Session

_LEASE = 300  # seconds that a machine lives on after it was used
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_FAILURES = (SandboxException, httpx.HTTPError)


class E2B:
    """``E2B().open(Limits())``. Raises UserError without a key."""

    def open(self, limits: Limits) -> E2BSession:
        if not os.environ.get("E2B_API_KEY"):
            raise UserError("the e2b sandbox needs the key of your account in E2B_API_KEY")
        return E2BSession(limits)


class E2BSession(Session):
    """One context on one machine. A machine that is gone is replaced."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._machine: Any = None
        self._renew = 0.0
        self._kill: Callable[[], Any] = lambda: None
        self._start()

    def run(self, code: str) -> Run:
        written: list[str] = []

        def take(message: Any) -> None:
            written.append(message.line)

        begin = time.monotonic()
        machine = self._open()
        try:
            if begin > self._renew:
                machine.set_timeout(_LEASE)
                self._renew = begin + _LEASE / 2
            done = machine.run_code(
                code, context=self._context, timeout=self.limits.wall, on_stdout=take, on_stderr=take
            )
        except _FAILURES as error:
            seconds = time.monotonic() - begin
            late = isinstance(error, TimeoutException) and seconds >= self.limits.wall
            self._restart()
            why = None if late else f"the machine ended: {error}"[:500]
            return Run(self._cut(written), why, "wall" if late else None, True, seconds)
        written += [f"{result.text}\n" for result in done.results if result.text]
        failed = None
        if done.error is not None:
            failed = f"{done.error.name}: {done.error.value}"[:500]
            written.append(_COLOURS.sub("", done.error.traceback).rstrip("\n") + "\n")
        return Run(self._cut(written), failed, None, False, time.monotonic() - begin)

    def write(self, path: str, data: bytes) -> None:
        with self._told():
            self._open().files.write(_plain(path), data)

    def read(self, path: str) -> bytes:
        with self._told():
            return bytes(self._open().files.read(_plain(path), format="bytes"))

    def alive(self) -> bool:
        with contextlib.suppress(*_FAILURES):
            return self._machine is not None and bool(self._machine.is_running())
        return False

    def close(self) -> None:
        if self._machine is not None:
            self._machine = None
            self._kill()

    def _start(self) -> None:
        self._kill()
        with self._told():
            self._machine = Machine.create(timeout=_LEASE, allow_internet_access=False)
            self._context = self._machine.create_code_context()
        self._kill = weakref.finalize(self, _kill, self._machine)
        self._renew = time.monotonic() + _LEASE / 2

    def _restart(self) -> None:
        """A fresh interpreter, on a fresh machine where this one is gone."""
        try:
            self._machine.restart_code_context(self._context)
        except _FAILURES:
            self._start()

    def _open(self) -> Any:
        if self._machine is None:
            raise SandboxError("the session is closed")
        return self._machine

    def _cut(self, written: list[str]) -> str:
        text, limit = "".join(written), self.limits.output
        lost = len(text) - limit
        if lost <= 0:
            return text
        return f"{text[: limit // 2]}\n... {lost} characters cut ...\n{text[-(limit // 2) :]}"

    @contextlib.contextmanager
    def _told(self) -> Any:
        try:
            yield
        except AuthenticationException as error:
            raise UserError(f"the e2b sandbox: {error} (the key is in E2B_API_KEY)") from None
        except _FAILURES as error:
            raise SandboxError(f"e2b: {error}") from error


def _kill(machine: Any) -> None:
    with contextlib.suppress(*_FAILURES):
        machine.kill()


def _plain(path: str) -> str:
    if not path or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise SandboxError(f"{path!r} is no plain relative path")
    return path
