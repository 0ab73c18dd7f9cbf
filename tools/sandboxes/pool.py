"""Warm sessions: a few are started before they are asked for, so that an episode does not wait for one.

A session is handed out once and never again: what one episode did to it cannot reach another.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from agentrl.once import once_a_process
from agentrl.tools.sandboxes import sandbox_named
from agentrl.tools.sandboxes.base import Limits, Sandbox, Session

WARM = 2  # sessions kept ready


class Pool:
    """Sessions of one sandbox with the same limits. ``warm`` of them are kept ready once the first was asked for."""

    def __init__(self, sandbox: Sandbox, limits: Limits, warm: int = WARM) -> None:
        self.sandbox, self.limits, self.warm = sandbox, limits, warm
        self._ready: deque[Future[Session]] = deque()
        self._starter = ThreadPoolExecutor(1, "agentrl-warm")
        self._lock = threading.Lock()
        self._closed = False

    def take(self) -> Session:
        """A fresh session, for the caller to close. Raises what opening one raises."""
        with self._lock:
            future = self._ready.popleft() if self._ready else None
            while not self._closed and len(self._ready) < self.warm:
                self._ready.append(self._starter.submit(self.sandbox.open, self.limits))
        if future is not None and future.done() and future.exception() is None:
            session = future.result()
            if session.alive():
                return session
            session.close()
        elif future is not None:  # not there yet: it serves the next one
            with self._lock:
                self._ready.append(future)
        return self.sandbox.open(self.limits)

    def close(self) -> None:
        """Close what is ready; sessions that were taken are their takers'."""
        with self._lock:
            self._closed = True
            ready, self._ready = list(self._ready), deque()
        self._starter.shutdown(wait=True, cancel_futures=True)
        for future in ready:
            if not future.cancelled() and future.exception() is None:
                future.result().close()


@once_a_process
def shared(name: str, limits: Limits) -> Pool:
    """This process's pool of a sandbox."""
    return Pool(sandbox_named(name), limits)
