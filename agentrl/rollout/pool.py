"""Environments on lease: built, used again and closed within deadlines, in threads here or in worker processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

from agentrl.envs import registry
from agentrl.envs.core import _Thread
from agentrl.rollout.process import ProcessEnv, WorkerPool
from agentrl.types import Task

BUILD_SECONDS = 120.0  # that an environment may take to be built: it may start a browser
CLOSE_SECONDS = 10.0  # at most, to be closed: the run waits for that when it ends

_Closing = concurrent.futures.Future[Any]


class EnvPool:
    """Lends environments. ``workers`` processes hold them (0: this process).

    A worker is replaced after ``recycle`` episodes, with all its environments may have leaked. ``on_failed(where,
    error)`` is told of an environment that could not be closed: it cannot fail an episode any more.
    """

    def __init__(
        self,
        seconds: float,
        workers: int = 0,
        recycle: int | None = None,
        on_failed: Callable[[str, Exception], None] = lambda where, error: None,
    ) -> None:
        self.seconds, self.workers, self.recycle, self.on_failed = seconds, workers, recycle, on_failed
        self.close_seconds = min(seconds, CLOSE_SECONDS)
        self.build: Callable[[Task], Any] = build
        self._idle: dict[tuple[str, Any], list[Any]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._processes: WorkerPool | None = None

    async def lease(self, task: Task) -> Any:
        """An idle environment of the kind the task needs, else a new one. Raises what building raises."""
        idle = self._idle.setdefault((task.env, task.kwargs), [])
        if idle:
            return idle.pop()
        if not self.workers:
            return await self._build_in_thread(task)
        if self._processes is None:
            self._processes = WorkerPool(self.workers, self.seconds)
        return await self._processes.amake(task.env, **dict(task.kwargs))

    def give_back(self, task: Task, env: Any, whole: bool, busy: bool = False) -> None:
        """End a lease. An environment that is not ``whole`` may be in any state: it is closed in the background.

        One that is still ``busy`` with a call nobody waits for any more is given up; its thread ends when that does.
        """
        if self._processes is not None and isinstance(env, ProcessEnv):
            env.worker.episodes += 1
            if self.recycle and env.worker.episodes >= self.recycle and not env.worker.retired:
                self._processes.retire(env.worker)
                for idle in self._idle.values():
                    for other in [e for e in idle if e.worker is env.worker]:
                        idle.remove(other)
                        self._close_soon(other)
            whole = whole and not env.worker.retired
        if busy and not isinstance(env, ProcessEnv) and env._thread is not None:
            env._thread.submit(env.close)
        elif whole:
            self._idle[task.env, task.kwargs].append(env)
        else:
            self._close_soon(env)

    async def settle(self) -> None:
        """Wait until what is being closed is closed, or past its deadline."""
        while self._closing:
            await asyncio.gather(*self._closing)

    def close(self) -> None:
        """Close everything that is idle, side by side, and end the worker processes."""
        idle = [env for envs in self._idle.values() for env in envs]
        self._idle.clear()
        begun = [(env, self._begin(env)) for env in idle]
        until = time.perf_counter() + self.close_seconds
        for env, closing in begun:
            try:
                if closing is not None:
                    closing.result(max(0.0, until - time.perf_counter()))
            except Exception as error:
                self._failed(env, error)
            self._closed(env)
        if self._processes is not None:
            self._processes.close()
            self._processes = None

    async def _build_in_thread(self, task: Task) -> Any:
        """A constructor may take its time; it runs in the thread that the environment keeps if it needs one."""
        thread = _Thread(task.env)
        building = thread.submit(lambda: self.build(task))
        try:
            env = await asyncio.wait_for(asyncio.wrap_future(building), BUILD_SECONDS)
        except BaseException:
            building.add_done_callback(_close_late)
            thread.end()
            raise
        if type(env).blocking and env._thread is None:
            env._thread = thread
        else:
            thread.end()
        return env

    def _close_soon(self, env: Any) -> None:
        task = asyncio.get_running_loop().create_task(self._close(env))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, env: Any) -> None:
        closing = self._begin(env)
        try:
            if closing is not None:
                await asyncio.wait_for(asyncio.wrap_future(closing), self.close_seconds)
        except Exception as error:
            self._failed(env, error)
        self._closed(env)
        if self._processes is not None:
            for worker in self._processes.sweep():
                await asyncio.to_thread(worker.join)

    def _begin(self, env: Any) -> _Closing | None:
        """Begin to close where the environment lives. None: nothing to wait for."""
        if isinstance(env, ProcessEnv):
            return env.end()
        closing: _Closing = _Closing()
        thread = getattr(env, "_thread", None)
        if thread is not None:
            closing = thread.submit(env.close)
        else:
            try:
                closing.set_result(env.close())
            except Exception as error:
                closing.set_exception(error)
        return closing

    def _failed(self, env: Any, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            error = TimeoutError(f"close took longer than {self.close_seconds:g} s")
            if isinstance(env, ProcessEnv):
                env.worker.kill(f"its worker process was killed: {env.name}: {error}")
        self.on_failed(getattr(env, "name", None) or type(env).__name__, error)

    def _closed(self, env: Any) -> None:
        if isinstance(env, ProcessEnv):
            env.ended()


def build(task: Task) -> Any:
    """The environment of a task, in this process."""
    env = registry.make(task.env, **dict(task.kwargs))
    if env.max_turns is None:
        env.max_turns = registry.spec(task.env).max_turns
    return env


def _close_late(building: concurrent.futures.Future[Any]) -> None:
    """An environment whose maker was given up, built after all."""
    with contextlib.suppress(Exception, asyncio.CancelledError, concurrent.futures.CancelledError):
        threading.Thread(target=building.result().close, daemon=True).start()
