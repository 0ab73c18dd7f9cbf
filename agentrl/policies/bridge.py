"""An event loop in a thread of its own, which coroutines of other loops await."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(eq=False, slots=True)
class _Call:
    what: Coroutine[Any, Any, Any]
    future: asyncio.Future[Any]  # of the loop that asked
    task: asyncio.Task[Any] = field(init=False)  # of the bridge's


class Bridge:
    """Runs coroutines for other loops.

    What is asked within one step of a loop crosses in one hop, and so do results that come within one step: for short
    requests, waking a thread for each is a good part of what they cost.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._asked: deque[_Call] = deque()
        self._called = False
        self._ended: dict[asyncio.AbstractEventLoop, list[_Call]] = {}
        self._thread = threading.Thread(target=self.loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, what: Coroutine[Any, Any, T]) -> T:
        """Wait for it in a thread whose own loop, if it has one, may stand still."""
        return asyncio.run_coroutine_threadsafe(what, self.loop).result()

    async def ask(self, what: Coroutine[Any, Any, T]) -> T:
        """Wait for it in another loop. Who gives the wait up ends it."""
        call = _Call(what, asyncio.get_running_loop().create_future())
        self._asked.append(call)
        if not self._called:
            self._called = True
            self.loop.call_soon_threadsafe(self._begin)
        try:
            return await call.future  # type: ignore[no-any-return]
        except asyncio.CancelledError:
            with contextlib.suppress(RuntimeError):  # it is closed
                self.loop.call_soon_threadsafe(lambda: call.task.cancel())
            raise

    def close(self) -> None:
        """End the loop and its thread. A second call does nothing."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.loop.close()

    def _begin(self) -> None:
        self._called = False  # before looking: whoever adds from now on calls again
        while self._asked:
            call = self._asked.popleft()
            call.task = self.loop.create_task(call.what)
            call.task.add_done_callback(lambda task, call=call: self._end(call))  # type: ignore[misc]

    def _end(self, call: _Call) -> None:
        if not call.task.cancelled():
            call.task.exception()  # it is told to whoever still waits
        home = call.future.get_loop()
        waiting = self._ended.setdefault(home, [])
        waiting.append(call)
        if len(waiting) == 1:  # what else ends in this step joins it
            self.loop.call_soon(self._return, home)

    def _return(self, home: asyncio.AbstractEventLoop) -> None:
        with contextlib.suppress(RuntimeError):  # nobody is there any more
            home.call_soon_threadsafe(_answer, self._ended.pop(home))


def _answer(calls: list[_Call]) -> None:
    for call in calls:
        future, task = call.future, call.task
        if future.done():
            continue
        if task.cancelled():
            future.cancel()
        elif error := task.exception():
            future.set_exception(error)
        else:
            future.set_result(task.result())
