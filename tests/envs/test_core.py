import asyncio
import gc
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentrl.envs.core import Env, Snapshot, digest, key_of, plain
from agentrl.types import ToolCall


class Plain(Env):
    """Writes the plain pair."""

    def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
        self.threads = [threading.current_thread()]
        return "start", {}

    def step(self, action):  # type: ignore[no-untyped-def]
        self.threads.append(threading.current_thread())
        return f"did {action}", 0.0, False, False, {}


class Waiting(Env):
    """Writes the coroutines, and keeps something that belongs to one event loop."""

    async def areset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.waiter = asyncio.create_task(self.queue.get())
        await asyncio.sleep(0)
        return "start", {}

    async def astep(self, action):  # type: ignore[no-untyped-def]
        await self.queue.put(action)
        return await self.waiter, 0.0, False, False, {}


def test_a_plain_environment_runs_in_a_thread_of_its_own() -> None:
    env = Plain()

    async def episode() -> Any:
        await env.areset()
        return await env.astep("x")

    assert asyncio.run(episode())[0] == "did x"
    assert len(set(env.threads)) == 1
    assert env.threads[0] is not threading.current_thread()
    env.close()
    env.close()


def test_one_that_never_blocks_runs_in_place() -> None:
    class Quick(Plain):
        blocking = False

    env = Quick()
    asyncio.run(env.areset())
    assert env.threads == [threading.current_thread()]


def test_the_plain_pair_of_an_environment_of_coroutines() -> None:
    env = Waiting()
    assert env.reset(seed=1)[0] == "start"
    assert env.step("hello")[0] == "hello"  # on the loop of the reset


def test_the_plain_pair_inside_a_running_loop() -> None:
    async def notebook() -> str:
        env = Waiting()
        env.reset()
        return str(env.step("hello")[0])

    assert asyncio.run(notebook()) == "hello"


def test_the_plain_pair_inside_its_own_loop_says_what_to_do() -> None:
    class Outer(Env):
        async def areset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
            return Waiting().reset()

    with pytest.raises(RuntimeError, match="await areset"):
        Outer().reset()


def test_missing_methods_are_named() -> None:
    with pytest.raises(TypeError, match=r"Empty must define reset\(\) or areset\(\)"):
        type("Empty", (Env,), {})().reset()


def test_pick_task() -> None:
    env = Plain()
    assert env.pick_task(3, {"task": 0}) == 0
    with pytest.raises(ValueError, match="not registered"):
        env.pick_task(3, None)
    env.task_source = lambda: range(1000)
    assert env.pick_task(3, None) == env.pick_task(3, {})
    assert len({env.pick_task(seed, None) for seed in range(20)}) > 15
    assert env.pick_task(None, None) in range(1000)


def test_snapshots_can_be_freed_twice() -> None:
    freed = []
    snapshot = Snapshot({"x": 1}, release=lambda: freed.append(1))
    snapshot.free()
    snapshot.free()
    assert freed == [1]
    assert snapshot.state is None


def test_keys() -> None:
    assert digest((1, 2)) == digest([1, 2]) != digest([1.0, 2])
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    assert digest({1, 2}) == digest({2, 1}) != digest([1, 2])
    for value in ({1, 2}, (1, "a", None), {"c": ToolCall("t", x=1)}, [[True], {}]):
        assert plain(plain(value)) == plain(value)
    env = Plain()
    assert key_of(env, "obs") == digest("obs")
    env.state_key = lambda: (1, 2)  # type: ignore[method-assign]
    assert key_of(env, "obs") == digest((1, 2))
    with pytest.raises(TypeError, match="plain data only"):
        digest(object())
    assert digest("\ud800") != digest("\udfff")  # half a surrogate pair, as an agent may write it in JSON


def test_a_step_that_hangs_does_not_keep_the_program_from_ending() -> None:
    program = """
import asyncio, time
from agentrl.envs.core import Env

class Hangs(Env):
    def reset(self, *, seed=None, options=None):
        time.sleep(1000)

async def main():
    try:
        await asyncio.wait_for(Hangs().areset(), 0.1)
    except TimeoutError:
        print("late")

asyncio.run(main())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, cwd=Path(__file__).parents[2])
    assert done.stdout == "late\n", done.stderr


def test_the_thread_of_an_environment_goes_with_it() -> None:
    def alive() -> int:
        return sum(thread.name == "Dropped" for thread in threading.enumerate())

    Dropped = type("Dropped", (Plain,), {})
    envs = [Dropped() for _ in range(3)]

    async def reset_all() -> None:
        await asyncio.gather(*(env.areset() for env in envs))

    asyncio.run(reset_all())
    assert alive() == 3
    envs.pop().close()
    envs.clear()
    gc.collect()
    until = time.monotonic() + 5
    while alive() and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive()
