import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentrl.envs import plugins, registry
from agentrl.envs.core import Env, Expert, Snapshots, key_of, run_sync
from agentrl.errors import UserError
from agentrl.rollout import wire
from agentrl.rollout.process import EnvCrashed, EnvFailed, EnvInvalid, EnvLost, EnvTimeout, ProcessEnv, WorkerPool
from agentrl.types import ToolCall, ToolRecord

ROOT = Path(__file__).parents[2]
GUESS = f"{ROOT / 'examples' / 'guess.py'}:Guess-v0"
NASTY = """
import os, subprocess, sys, time
import agentrl as ar

@ar.register("Nasty-v0", splits={"train": range(5)}, max_turns=5)
class Nasty(ar.Env):
    def reset(self, *, seed=None, options=None):
        print("printed in reset")
        os.write(1, b"written to stdout")
        return "start " + repr(sys.stdin.readline()), {"nested": {"records": [ar.ToolCall("a", x=1)]}}

    def step(self, action):
        if action == "hang":
            while True:
                pass
        if action == "child":
            return str(subprocess.Popen(["sleep", "1000"]).pid), 0.0, False, False, {}
        if action == "die":
            os._exit(3)
        if action == "raise":
            raise KeyError("lost key")
        if action == "live":
            return "x", 0.0, False, False, {"it": open(os.devnull)}
        if action == "deep":
            nested = []
            for _ in range(100_000):
                nested = [nested]
            return "x", 0.0, False, False, {"it": nested}
        if action == "huge":
            return "x" * (1 << 27), 0.0, False, False, {}
        if action == "slow":
            time.sleep(0.5)
        return action, 0.5, False, True, {"success": True}
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    monkeypatch.setattr(plugins, "_loaded", dict(plugins._loaded))


def make(pool: WorkerPool, name: str, **kwargs: Any) -> ProcessEnv:
    return run_sync(pool.amake(name, **kwargs))


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with closing(WorkerPool(1)) as made:
        yield made


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("envs") / "nasty.py"
    path.write_text(NASTY)
    return f"{path}:Nasty-v0"


def episode(env: Any, seed: int) -> list[Any]:
    async def play() -> list[Any]:
        observation, info = await env.areset(seed=seed)
        seen: list[Any] = [(observation, info, key_of(env, observation))]
        over = False
        while not over:
            observation, reward, terminated, truncated, info = await env.astep(env.expert())
            for record in info["tool_calls"]:
                assert isinstance(record, ToolRecord)
                record.seconds = 0
            seen.append((observation, reward, terminated, truncated, info, key_of(env, observation)))
            over = terminated or truncated
        return seen

    return asyncio.run(play())


def test_guess_plays_the_same_in_a_worker(pool: WorkerPool) -> None:
    env, here = make(pool, GUESS), registry.make(GUESS)
    for seed in range(5):
        assert episode(env, seed) == episode(here, seed)
    assert (env.instructions, env.tools, env.max_turns) == (here.instructions, here.tools, here.max_turns)
    assert env.snapshot_level == "exact"
    env.close()


def test_the_plain_pair_works_too(pool: WorkerPool) -> None:
    env = make(pool, GUESS)
    assert isinstance(env, Env)
    env.reset(seed=1, options={"task": 4})
    assert env.step(ToolCall("compare", guess=64))[0][0]["content"] in ("lower", "equal")
    two = env.step([ToolCall("compare", guess=1), ToolCall("nothing")])
    assert len(two[0]) == 2
    assert two[4]["valid"] is False
    env.close()


def test_a_snapshot_can_be_restored_in_any_worker() -> None:
    with closing(WorkerPool(2)) as pool:
        env, other = make(pool, GUESS), make(pool, GUESS)
        assert env.worker is not other.worker
        assert isinstance(env, Snapshots)
        assert isinstance(env, Expert)
        env.reset(seed=1, options={"task": 4})
        env.step(ToolCall("compare", guess=32))
        saved, action = env.snapshot(), env.expert()
        env.step(ToolCall("submit", number=1))
        other.reset(seed=2, options={"task": 9})
        for one in (env, other):
            one.restore(saved)
            assert one.expert() == action
            assert one.state_key() in ([1, 31], [33, 64], [32, 32])


def test_capabilities_are_those_of_the_environment(pool: WorkerPool, nasty: str) -> None:
    env = make(pool, nasty)
    assert not isinstance(env, Snapshots)
    assert not hasattr(env, "expert")
    assert env.reset()[1] == {"nested": {"records": [ToolCall("a", x=1)]}}


def test_prints_and_input_do_not_touch_the_line(pool: WorkerPool, nasty: str) -> None:
    env = make(pool, nasty)
    assert env.reset()[0] == "start ''"
    text = "line\nbreak \u2028 \x00 \ud800 " + "x" * 200_000
    assert env.step(text)[0] == text


def test_a_hanging_environment_is_killed_at_its_deadline(nasty: str) -> None:
    with closing(WorkerPool(1, deadline=0.5)) as pool:
        env, beside = make(pool, nasty), make(pool, nasty)
        env.reset()
        beside.reset()
        pid = env.worker.pid
        begin = time.monotonic()
        with pytest.raises(EnvTimeout, match=r"step took longer than 0\.5 s"):
            env.step("hang")
        assert time.monotonic() - begin < 10
        assert pid is not None
        assert not _runs(pid)
        with pytest.raises(EnvLost, match="was killed"):  # the neighbour's episode is lost, and says so
            beside.step("x")
        assert env.reset()[0].startswith("start")  # the next use starts a new process
        assert beside.reset()[0].startswith("start")
        assert beside.step("x")[0] == "x"


def test_neighbours_in_flight_learn_why(nasty: str) -> None:
    with closing(WorkerPool(1, deadline=0.5)) as pool:
        env, beside = make(pool, nasty), make(pool, nasty)
        beside.deadline = 60.0

        async def both() -> list[Any]:
            await asyncio.gather(env.areset(), beside.areset())
            return await asyncio.gather(env.astep("hang"), beside.astep("hang"), return_exceptions=True)

        late, lost = asyncio.run(both())
        assert isinstance(late, EnvTimeout)
        assert isinstance(lost, EnvLost)
        assert "was killed: Nasty-v0: step took longer" in str(lost)


def test_giving_up_and_closing_kills_what_hangs(nasty: str) -> None:
    with closing(WorkerPool(1)) as pool:
        env = make(pool, nasty)

        async def give_up() -> None:
            await env.areset()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(env.astep("hang"), 0.3)

        asyncio.run(give_up())
        pid = env.worker.pid
        env.close()
        assert pid is not None
        assert not _runs(pid)


def test_environments_of_one_worker_wait_side_by_side(pool: WorkerPool, nasty: str) -> None:
    envs = [make(pool, nasty) for _ in range(4)]

    async def all_at_once() -> float:
        await asyncio.gather(*(env.areset() for env in envs))
        begin = time.monotonic()
        await asyncio.gather(*(env.astep("slow") for env in envs))
        return time.monotonic() - begin

    assert asyncio.run(all_at_once()) < 1.5
    for env in envs:
        env.close()


def test_what_the_environment_raises_comes_with_its_traceback(pool: WorkerPool, nasty: str) -> None:
    env = make(pool, nasty)
    env.reset()
    with pytest.raises(EnvFailed, match=r"(?s)KeyError: 'lost key'.*nasty.py"):
        env.step("raise")
    with pytest.raises(EnvInvalid, match="plain data only, not TextIOWrapper"):
        env.step("live")
    with pytest.raises(EnvInvalid, match="RecursionError"):
        env.step("deep")
    with pytest.raises(EnvInvalid, match="an observation of 128 MiB; at most 16 are taken"):
        env.step("huge")
    assert env.step("fine")[0] == "fine"  # the process goes on


def test_a_process_that_dies(nasty: str) -> None:
    with closing(WorkerPool(1)) as pool:
        env = make(pool, nasty)
        env.reset()
        child = int(env.step("child")[0])
        with pytest.raises(EnvCrashed, match=r"ended \(exit code 3\)"):
            env.step("die")
        _gone([child])
        env.reset()
        assert env.step("x")[4] == {"success": True}


def test_children_of_an_environment_go_with_it(nasty: str) -> None:
    with closing(WorkerPool(1)) as pool:
        env = make(pool, nasty)
        env.reset()
        child = int(env.step("child")[0])
        assert _runs(child)


def test_errors_of_the_user_stay_one_line(pool: WorkerPool) -> None:
    with pytest.raises(UserError, match="unknown environment 'Gues-v0'"):
        make(pool, "Gues-v0")
    with pytest.raises(UserError, match="unknown argument of Guess-v0 'sise'"):
        make(pool, GUESS, sise=3)
    assert pool.workers[0].alive


def test_workers_share_the_load() -> None:
    with closing(WorkerPool(2)) as pool:
        envs = [make(pool, GUESS) for _ in range(4)]
        assert [worker.envs for worker in pool.workers] == [2, 2]
        for env in envs:
            env.close()
        assert [worker.envs for worker in pool.workers] == [0, 0]


SCRIPT = """
import asyncio, os, sys, time
import agentrl as ar
from agentrl.rollout.process import WorkerPool

{register}

pool = WorkerPool(2)
{use}
"""


def test_a_class_of_the_running_script_cannot_go_to_a_worker(tmp_path: Path) -> None:
    source = (ROOT / "examples" / "guess.py").read_text()
    use = textwrap.dedent("""
        try:
            asyncio.run(pool.amake("Guess-v0"))
        except ar.UserError as error:
            print(error)
        finally:
            pool.close()
    """)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(register=source, use=use))
    done = _run(script)
    assert "Guess-v0 is defined in the running script or notebook" in done.stdout, done.stderr


def test_a_class_the_user_imported_is_found_by_the_worker(tmp_path: Path) -> None:
    (tmp_path / "my_guess.py").write_text((ROOT / "examples" / "guess.py").read_text())
    script = tmp_path / "script.py"  # no __main__ guard, and none is needed
    use = 'env = asyncio.run(pool.amake("Guess-v0"))\nprint(env.reset(seed=1)[0])\nprint(os.getpid())\npool.close()\n'
    script.write_text(SCRIPT.format(register="import my_guess", use=use))
    done = _run(script)
    assert done.stdout.startswith("A number from 1 to 64 is hidden."), done.stderr
    assert done.stdout.count("\n") == 2  # the script ran once


@pytest.mark.parametrize("last", ["idle", "hang"])
def test_no_worker_outlives_its_engine(tmp_path: Path, last: str) -> None:
    (tmp_path / "nasty.py").write_text(NASTY)
    use = textwrap.dedent(f"""
        env = asyncio.run(pool.amake("Nasty-v0"))
        env.reset()
        print(*[worker.pid for worker in pool.workers], flush=True)
        env.step("hang") if {last!r} == "hang" else time.sleep(1000)
    """)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(register="import nasty", use=use))
    engine = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=_environ())
    assert engine.stdout is not None
    pids = [int(pid) for pid in engine.stdout.readline().split()]
    assert len(pids) == 2
    time.sleep(0.2)
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()
    engine.stdout.close()
    _gone(pids)


def test_the_wire_keeps_calls_and_records() -> None:
    record = ToolRecord("t", {"x": [1, {"y": None}]}, 3, 0.25, 0.01, "error: no")
    message = {"a": ToolCall("name", x=1, name="n"), "b": [record], "c": float("inf"), "d": {"$call": 1}, "e": {3, 1}}
    back = wire.load(wire.dump(message))
    assert back == {**message, "e": [1, 3]}
    odd = {"$call": "x", "arguments": [1]}  # what an agent may write does not break the line
    assert wire.load(wire.dump({"x": odd})) == {"x": odd}
    assert wire.load(wire.dump({"x": {"$record": {"name": 1}}})) == {"x": {"$record": {"name": 1}}}


def test_process_env_is_not_used_after_closing(pool: WorkerPool) -> None:
    env = make(pool, GUESS)
    env.reset(seed=1)
    env.close()
    env.close()
    with pytest.raises(EnvFailed, match="lost"):
        env.step("x")
    assert isinstance(env, ProcessEnv)


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def _run(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, env=_environ())


def _gone(pids: list[int]) -> None:
    until = time.monotonic() + 10
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < until, f"still there: {[pid for pid in pids if _runs(pid)]}"
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # a container without an init process keeps zombies, which do not count
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
