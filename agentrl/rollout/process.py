"""Environments in worker processes: a deadline there really kills, and a slow one does not hold up the engine.

A worker is a fresh ``python -m agentrl.rollout.worker``, never a copy of the running program. It imports the plug-ins
the engine has imported. Killing it for one environment's sake loses the episodes of all it runs, so the number of
workers is the size of the pool, and who wants one environment a process asks for as many workers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import agentrl.errors
from agentrl.envs import plugins, registry
from agentrl.envs.core import Env, ResetResult, Snapshot, StepResult
from agentrl.errors import UserError
from agentrl.rollout import wire
from agentrl.types import Action

_START = 120.0  # seconds for a fresh interpreter to import its plug-ins and build an environment
_Future = concurrent.futures.Future[dict[str, Any]]
_Pending = dict[int, tuple[int, _Future]]  # request -> environment, answer


class EnvFailed(Exception):
    """The environment raised, or its process is gone. The message ends with the worker's own traceback."""


class EnvTimeout(EnvFailed, TimeoutError):
    """The environment did not answer by its deadline; its process was killed."""


class EnvCrashed(EnvFailed):
    """The process ended by itself while the environment worked."""


class EnvLost(EnvFailed):
    """The process was killed for the sake of another environment in it."""


class EnvInvalid(EnvFailed):
    """What the environment answered is no plain data, or far too much of it."""


class Worker:
    """One process, started when it is first needed and again after it was killed."""

    def __init__(self) -> None:
        self.generation = 0  # which process: an environment made in an earlier one is gone
        self.envs = 0
        self.episodes = 0  # played here, for who replaces workers after some
        self.retired = False  # takes no new environment, and goes with its last
        self._process: subprocess.Popen[bytes] | None = None
        self._pending: _Pending = {}
        self._ids = itertools.count()
        self._lock = threading.Lock()
        self._why: list[str] = []  # why this process was killed, if it was

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        with self._lock:
            if self.alive:
                return
            root = str(Path(agentrl.errors.__file__).parent.parent)
            path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "agentrl.rollout.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # a group to kill with all it started; Ctrl-C is the engine's to handle
            )
            self.generation += 1
            self._why = []
            self._pending = {}  # a new one: the reader of the last process may still be failing what that one lost
            threading.Thread(target=self._read, args=(self._process, self._pending, self._why), daemon=True).start()

    def request(self, op: str, env: int, **fields: Any) -> _Future:
        future: _Future = concurrent.futures.Future()
        number = next(self._ids)
        line = wire.dump({"id": number, "op": op, "env": env, **fields})
        with self._lock:
            if not self.alive or self._process is None or self._process.stdin is None:
                raise _gone(self._why, "its worker process is gone; reset starts a new one")
            self._pending[number] = env, future
            try:
                self._process.stdin.write(line)
                self._process.stdin.flush()
            except OSError as error:
                del self._pending[number]
                raise _gone(self._why, f"its worker process is gone ({error}); reset starts a new one") from None
        return future

    def busy(self, env: int) -> bool:
        """Whether the process still works on a request of this environment, wanted or not."""
        with self._lock:
            return any(number == env for number, _ in self._pending.values())

    def kill(self, why: str) -> None:
        if self._process is not None and self.alive:
            self._why.append(why)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def end_input(self) -> None:
        """Ask the worker to close its environments and go."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def join(self) -> None:
        """Wait until a worker whose input has ended is gone; it is killed where it does not go."""
        if self._process is not None:
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill("the pool was closed")

    def _read(self, process: subprocess.Popen[bytes], pending: _Pending, why: list[str]) -> None:
        assert process.stdout is not None
        with process.stdout as answers:
            for line in answers:
                answer = wire.load(line)
                with self._lock:
                    _, future = pending.pop(answer["id"])
                with contextlib.suppress(concurrent.futures.InvalidStateError):  # nobody waits for it any more
                    if "error" in answer:
                        future.set_exception(_failure(answer["error"]))
                    else:
                        future.set_result(answer["result"])
        with contextlib.suppress(ChildProcessError, AttributeError):  # until it is reaped its number is no other's
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError):  # what its environments started and left behind
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        with self._lock:
            lost = [future for _, future in pending.values()]
            pending.clear()
        for future in lost:
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(_gone(why, f"its worker process ended (exit code {code})"))


class ProcessEnv(Env):
    """An environment in a worker process. After a failure, :meth:`areset` builds it anew.

    It offers ``snapshot``, ``expert`` and ``admissible_actions`` where the environment does; these wait for their
    answer in place. A snapshot is data and can be restored in any worker.
    """

    expert: Callable[[], Action]
    admissible_actions: Callable[[], list[Action]]
    snapshot: Callable[[], Snapshot]
    restore: Callable[[Snapshot], None]
    _numbers = itertools.count()

    def __init__(self, worker: Worker, name: str, kwargs: dict[str, Any], deadline: float) -> None:
        self.worker, self.name, self.kwargs, self.deadline = worker, name, kwargs, deadline
        self._number = next(self._numbers)
        self._generation = 0
        self._state_key: Any = None
        self._privileged_key: Any = None
        self._potential: float | None = None
        worker.envs += 1

    def build(self) -> _Future:
        """Begin to make the environment in the worker, starting that where needed; :meth:`built` takes the answer."""
        self.worker.start()
        self._generation = self.worker.generation
        sent = {"name": self.name, "kwargs": self.kwargs, "path": sys.path, "plugin_list": plugins.loaded()}
        return self._request("make", sent)

    def built(self, made: dict[str, Any]) -> None:
        self.instructions = made["instructions"]
        self.tools = made["tools"]  # type: ignore[misc]  # of the class it stands for
        self._note(made)
        if "snapshot" in made["offers"]:
            self.snapshot, self.restore = self._snapshot, self._restore
        for method in ("expert", "admissible_actions"):
            if method in made["offers"]:
                setattr(self, method, functools.partial(self._value, method))

    async def areset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        if not self.worker.alive or self._generation != self.worker.generation:
            self.built(await self._answer("make", self.build(), _START))
        answer = await self._ask("reset", seed=seed, options=options)
        self._note(answer)
        return answer["result"]  # type: ignore[no-any-return]  # whoever plays checks what environments return

    async def astep(self, action: Action) -> StepResult:
        answer = await self._ask("step", action=action)
        self._note(answer)
        return answer["result"]  # type: ignore[no-any-return]

    def state_key(self) -> Any:
        return self._state_key

    def privileged_key(self) -> Any:
        return self._privileged_key

    def potential(self) -> float | None:
        return self._potential

    def close(self) -> None:
        self.end()
        self.ended()

    def end(self) -> _Future | None:
        """Begin to close, and :meth:`ended` when the answer is there; None where there is nothing to wait for."""
        if not 0 < self._generation == self.worker.generation:
            return None
        if self.worker.busy(self._number):  # whoever waited has given up: it may hang for good
            self.worker.kill(f"its worker process was killed: {self.name} was closed in the middle of a request")
            return None
        try:
            return self.worker.request("close", self._number)
        except EnvFailed:
            return None

    def ended(self) -> None:
        self.worker.envs -= self._generation > 0
        self._generation = 0
        super().close()

    def _snapshot(self) -> Snapshot:
        return Snapshot(self._ask_now("snapshot")["state"])

    def _restore(self, snapshot: Snapshot) -> None:
        self._note(self._ask_now("restore", state=snapshot.state))

    def _value(self, method: str) -> Any:
        asked = self._request("value", {"method": method})
        return self._answer_now(method, asked, self.deadline)["value"]

    def _ask_now(self, op: str, **fields: Any) -> dict[str, Any]:
        return self._answer_now(op, self._request(op, fields), self.deadline)

    def _note(self, answer: dict[str, Any]) -> None:
        self._state_key = answer.get("state_key")
        self._privileged_key, self._potential = answer.get("privileged_key"), answer.get("potential")
        self.snapshot_level, self.max_turns = answer["snapshot_level"], answer["max_turns"]

    def _request(self, op: str, fields: dict[str, Any]) -> _Future:
        if self._generation != self.worker.generation:
            raise EnvLost(f"{self.name}: its worker process was lost; reset builds it anew")
        return self.worker.request(op, self._number, **fields)

    async def _ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return await self._answer(op, self._request(op, fields), self.deadline)

    async def _answer(self, op: str, future: _Future, seconds: float) -> dict[str, Any]:
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            raise self._overdue(op, seconds) from None

    def _answer_now(self, op: str, future: _Future, seconds: float) -> dict[str, Any]:
        try:
            return future.result(seconds)
        except TimeoutError:
            raise self._overdue(op, seconds) from None

    def _overdue(self, op: str, seconds: float) -> EnvTimeout:
        why = f"{self.name}: {op} took longer than {seconds:g} s"
        self.worker.kill(f"its worker process was killed: {why}")
        return EnvTimeout(why)


class WorkerPool:
    """``n`` worker processes, started at once, that share the environments asked for.

    A reset or a step that takes longer than ``deadline`` seconds costs its process. A worker that :meth:`retire` was
    called for is replaced at once and goes when the last environment in it is closed.
    """

    def __init__(self, n: int, deadline: float = 60.0) -> None:
        self.deadline = deadline
        self.workers = [Worker() for _ in range(n)]
        self.retired: list[Worker] = []
        for worker in self.workers:
            worker.start()

    async def amake(self, name: str, /, **kwargs: Any) -> ProcessEnv:
        """An environment in the worker that has the fewest."""
        at = registry.resolve(name)
        if registry.in_main(at.spec):
            raise UserError(
                f"{at.spec.id} is defined in the running script or notebook, which worker processes cannot import; "
                "move the class to a file of its own, or use no worker processes"
            )
        full = at.spec.id if at.split is None else f"{at.spec.id}:{at.split}"
        env = ProcessEnv(min(self.workers, key=lambda worker: worker.envs), full, kwargs, self.deadline)
        try:
            env.built(await env._answer("make", env.build(), _START))
        except BaseException:
            env.close()
            raise
        return env

    def retire(self, worker: Worker) -> None:
        """Replace ``worker`` by a fresh one; it ends once its environments are closed and :meth:`sweep` is called."""
        if worker in self.workers:
            worker.retired = True
            self.retired.append(worker)
            self.workers[self.workers.index(worker)] = Worker()

    def sweep(self) -> list[Worker]:
        """Begin to end the retired workers without environments; who called joins them, where waiting does no harm."""
        over = [worker for worker in self.retired if not worker.envs]
        self.retired = [worker for worker in self.retired if worker.envs]
        for worker in over:
            worker.end_input()
        return over

    def close(self) -> None:
        workers = [*self.workers, *self.retired]
        for worker in workers:  # all at once, then one after the other
            worker.end_input()
        for worker in workers:
            worker.join()


def _failure(error: dict[str, str]) -> Exception:
    if error["type"] == "UserError":
        return UserError(error["message"])
    if error["type"] == wire.INVALID:
        return EnvInvalid(error["message"])
    return EnvFailed(f"{error['type']}: {error['message']}\n{error['trace']}".rstrip())


def _gone(killed: list[str], otherwise: str) -> EnvFailed:
    return EnvLost(killed[-1]) if killed else EnvCrashed(otherwise)
