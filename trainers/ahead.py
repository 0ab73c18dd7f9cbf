"""Rollouts that run ahead of the trainer, in a thread of their own.

Iterations are played and trained in order, and whole: nothing is dropped or moved because it was slow, so what is
trained on is what was asked for. An iteration's episodes begin once the trainer is at most ``staleness`` updates behind
it; weights change under running episodes, and every token says which version sampled it. So no token that is trained on
lags more than ``staleness`` updates, and with 0 none does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

P = TypeVar("P")
T = TypeVar("T")


class Ahead(Generic[P]):
    """``play(i)`` plays iteration i; none from ``end`` on is begun."""

    def __init__(self, play: Callable[[int], Awaitable[P]], staleness: int, end: int) -> None:
        self.play, self.staleness, self.end = play, staleness, end
        self._playing: dict[int, Future[P]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rollouts", daemon=True)
        self._thread.start()

    def take(self, iteration: int) -> P:
        """What an iteration gave, when it is whole. All iterations before it have been trained on."""
        for number in range(iteration, min(iteration + self.staleness + 1, self.end)):
            if number not in self._playing:  # the older one's episodes come first to every place
                self._playing[number] = asyncio.run_coroutine_threadsafe(self._begin(number), self._loop)
        played = self._playing[iteration].result()
        del self._playing[iteration]
        return played

    def call(self, function: Callable[[], T]) -> T:
        """Run a function between two steps of what the thread does, as new weights must be taken."""

        async def now() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(now(), self._loop).result()

    def close(self) -> None:
        """Stop whatever is being played."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(cancel_others(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self, iteration: int) -> P:
        return await self.play(iteration)


async def cancel_others() -> None:
    """Every task of this event loop but the one that asks."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
