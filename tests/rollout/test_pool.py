"""Where environments come from: built and closed off the event loop, within deadlines, in workers that are replaced."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentrl.envs import plugins, registry
from agentrl.envs.core import Env
from agentrl.rollout.pool import EnvPool
from agentrl.rollout.process import ProcessEnv
from agentrl.types import Task

LEAKY = """
import os, threading, time
import agentrl as ar

@ar.register("Leaky-v0", splits={"train": range(5)}, max_turns=5)
class Leaky(ar.Env):
    def reset(self, *, seed=None, options=None):
        self.leak = open(os.devnull)
        return f"{os.getpid()}", {}

    def step(self, action):
        if action == "die":
            os._exit(3)
        if action == "hang":
            time.sleep(1000)
        self.action = action
        return action, 0.0, False, False, {}

    def close(self):
        if self.action == "close slowly":
            time.sleep(1000)
        super().close()
"""


class Plain(Env):
    """Says which thread did what."""

    def __init__(self) -> None:
        self.built = threading.get_ident()
        self.closed: int | None = None

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return f"{threading.get_ident()}", {}

    def close(self) -> None:
        self.closed = threading.get_ident()
        super().close()


@pytest.fixture
def leaky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    monkeypatch.setattr(plugins, "_loaded", dict(plugins._loaded))
    path = tmp_path / "leaky.py"
    path.write_text(LEAKY)
    return f"{path}:Leaky-v0"


def pool_of(make: Any, seconds: float = 5.0) -> EnvPool:
    pool = EnvPool(seconds)
    pool.build = lambda task: make()
    return pool


def test_an_environment_lives_and_dies_in_its_own_thread() -> None:
    pool, task = pool_of(Plain), Task("Plain-v0", 0)

    async def play() -> Plain:
        env: Plain = await pool.lease(task)
        assert str(env.built) == (await env.areset())[0] != str(threading.get_ident())
        pool.give_back(task, env, whole=True)
        assert await pool.lease(task) is env
        pool.give_back(task, env, whole=False)
        await pool.settle()
        return env

    env = asyncio.run(play())
    assert env.closed == env.built
    assert env._thread is None


def test_a_slow_constructor_holds_up_nobody() -> None:
    def make() -> Plain:
        time.sleep(0.3)
        return Plain()

    pool, task = pool_of(make), Task("Plain-v0", 0)

    async def play() -> int:
        building = asyncio.create_task(pool.lease(task))
        ticks = 0
        while not building.done():
            await asyncio.sleep(0.01)
            ticks += 1
        pool.give_back(task, await building, whole=True)
        return ticks

    assert asyncio.run(play()) > 5
    pool.close()


def test_an_environment_whose_maker_gave_up_is_closed_when_it_comes() -> None:
    made: list[Plain] = []

    def make() -> Plain:
        time.sleep(0.2)
        made.append(Plain())
        return made[0]

    pool = pool_of(make)

    async def give_up() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(pool.lease(Task("Plain-v0", 0)), 0.05)

    asyncio.run(give_up())
    until = time.monotonic() + 5
    while not (made and made[0].closed) and time.monotonic() < until:
        time.sleep(0.01)
    assert made[0].closed


def test_a_close_that_hangs_is_told_and_left() -> None:
    class Hanging(Plain):
        def close(self) -> None:
            time.sleep(3)

    told: list[tuple[str, Exception]] = []
    pool = pool_of(Hanging, seconds=0.2)
    pool.on_failed = lambda where, error: told.append((where, error))
    task = Task("Plain-v0", 0)

    async def play(whole: bool) -> None:
        env = await pool.lease(task)
        await env.areset()
        pool.give_back(task, env, whole)
        await pool.settle()

    begin = time.monotonic()
    asyncio.run(play(False))
    asyncio.run(play(True))
    pool.close()
    assert time.monotonic() - begin < 2
    assert [(where, type(error)) for where, error in told] == [("Hanging", TimeoutError)] * 2


def test_a_worker_is_replaced_after_its_episodes_with_all_it_leaked(leaky: str) -> None:
    pool = EnvPool(5.0, workers=1, recycle=2)
    task = Task(leaky, 0)

    async def play() -> list[int]:
        seen = []
        for _ in range(5):
            env: ProcessEnv = await pool.lease(task)
            seen.append(int((await env.areset())[0]))  # type: ignore[arg-type]
            await env.astep("x")
            pool.give_back(task, env, whole=True)
        await pool.settle()
        return seen

    pids = asyncio.run(play())
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    for pid in {*pids} - {pids[4]}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    pool.close()


def test_a_worker_that_retires_goes_with_its_last_environment(leaky: str) -> None:
    pool = EnvPool(5.0, workers=1, recycle=1)
    task = Task(leaky, 0)

    async def play() -> None:
        one, two = await pool.lease(task), await pool.lease(task)
        await asyncio.gather(one.areset(), two.areset())
        await one.astep("x")
        pool.give_back(task, one, whole=True)
        await pool.settle()
        assert (await two.astep("still here"))[0] == "still here"
        assert two.worker.alive
        pool.give_back(task, two, whole=True)
        await pool.settle()
        assert not two.worker.alive

    asyncio.run(play())
    pool.close()


def test_a_close_that_hangs_in_a_worker_costs_the_process(leaky: str) -> None:
    told: list[Exception] = []
    pool = EnvPool(0.5, workers=1, on_failed=lambda where, error: told.append(error))
    task = Task(leaky, 0)

    async def play() -> None:
        env = await pool.lease(task)
        await env.areset()
        await env.astep("close slowly")
        pool.give_back(task, env, whole=False)
        await pool.settle()
        assert not env.worker.alive

    asyncio.run(play())
    assert [type(error) for error in told] == [TimeoutError]
    pool.close()
