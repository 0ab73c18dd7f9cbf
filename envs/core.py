"""The environment protocol: Gymnasium's five-tuple over text and tool calls, plus coroutines and small capabilities.

An author writes ``reset`` and ``step`` (or the coroutines ``areset`` and ``astep``) and whatever of ``state_key``,
``snapshot``/``restore``, ``expert``, ``admissible_actions`` and ``render`` the environment can give. The engine
calls the coroutines only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import queue
import random
import threading
import weakref
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import gymnasium

from agentrl.envs.spaces import ActionSpace, Messages
from agentrl.once import background_loop
from agentrl.types import Action, Observation, ToolCall

T = TypeVar("T")
ResetResult = tuple[Observation, dict[str, Any]]
StepResult = tuple[Observation, float, bool, bool, dict[str, Any]]


class Env(gymnasium.Env[Observation, Action]):
    """Base class of every agentrl environment.

    ``reset(options={"task": id})`` fixes start and goal; the seed then only fixes the dynamics' randomness. Without
    options the seed picks a task of the split. ``info`` may hold ``success`` (bool, at the end), ``valid`` (False:
    the action meant nothing here), ``rewards`` (named parts that add up to the reward) and ``tool_calls``
    (list of :class:`agentrl.types.ToolRecord`), and ``scores`` (numbers by name, for credit methods that use them).

    ``instructions`` is what an agent is told before the first observation (the system message); ``tools`` lists the
    JSON schemas of the functions it may call (empty: it acts by text). ``blocking = False`` promises that a step
    takes microseconds, so that the engine calls it in place instead of in the environment's own thread.
    ``reward_range`` bounds the sum of an episode's rewards; ``reward_names``: all names its parts may have, if told.
    ``points = True`` says that actions point at what an observation shows (by its number), so that it is no give-away
    that they stand there. ``at_once`` is how many episodes a machine can hold side by side, where each is a browser or
    more. ``max_turns`` may be set at reset where an episode has a limit of its own; else the
    registered one counts.
    """

    observation_space: gymnasium.Space[Any] = Messages()
    action_space: gymnasium.Space[Any] = ActionSpace()
    instructions: str = ""
    tools: ClassVar[list[dict[str, Any]]] = []
    blocking: ClassVar[bool] = True
    reward_range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    reward_names: ClassVar[tuple[str, ...] | None] = None
    points: ClassVar[bool] = False
    at_once: ClassVar[int | None] = None
    snapshot_level: str = "replay"  # exact | replay | none
    max_turns: int | None = None
    task_source: Callable[[], Sequence[Any]] | None = None  # set by the registry: the tasks a seed picks from
    _thread: _Thread | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        return run_sync(self.areset(seed=seed, options=options))

    def step(self, action: Action) -> StepResult:
        return run_sync(self.astep(action))

    async def areset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        self._needs_own("reset", "areset")
        return await self.in_thread(lambda: self.reset(seed=seed, options=options))

    async def astep(self, action: Action) -> StepResult:
        self._needs_own("step", "astep")
        return await self.in_thread(lambda: self.step(action))

    def pick_task(self, seed: int | None, options: dict[str, Any] | None) -> Any:
        """The task of an episode: ``options["task"]``, else one the seed picks from the tasks of the split."""
        if options and "task" in options:
            return options["task"]
        if self.task_source is None:
            raise ValueError(f'{type(self).__name__} is not registered, so reset needs options={{"task": ...}}')
        # A generator of its own: the dynamics are the same whether the task was picked or given.
        return random.Random(None if seed is None else f"task {seed}").choice(self.task_source())

    def state_key(self) -> Any:
        """What makes two turns comparable, from what the agent has seen. None: the digest of the observation."""
        return None

    def privileged_key(self) -> Any:
        """What makes two turns comparable from all the environment knows, also what the agent has not seen.

        None: it offers none. For ``anchor: privileged``, which is labelled so wherever its numbers are shown.
        """
        return None

    def potential(self) -> float | None:
        """How near the goal the state is, for potential shaping; any scale. None: it offers none."""
        return None

    def close(self) -> None:
        if self._thread is not None:
            self._thread.end()
            self._thread = None

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run plain code of this environment where it may run: in its own thread, or in place (``blocking``)."""
        if not self.blocking:
            return call()
        if self._thread is None:  # one thread each: many environments are not safe to move between threads
            self._thread = _Thread(type(self).__name__)
        try:
            return await asyncio.wrap_future(self._thread.submit(call))
        except asyncio.CancelledError:  # it may hang: what comes next gets another thread
            Env.close(self)
            raise

    def _needs_own(self, plain: str, coroutine: str) -> None:
        cls = type(self)
        if getattr(cls, plain) is getattr(Env, plain):
            raise TypeError(f"{cls.__name__} must define {plain}() or {coroutine}()")


class _Thread:
    """A thread that makes calls in order. Unlike an executor's, one that hangs cannot keep the program from ending."""

    def __init__(self, name: str) -> None:
        calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=_make_calls, args=(calls,), name=name, daemon=True).start()
        self._calls = calls
        self.end = weakref.finalize(self, calls.put, None)  # an environment nobody closed takes its thread along

    def submit(self, call: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()

        def answer() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(call())
            except BaseException as error:
                future.set_exception(error)

        self._calls.put(answer)
        return future


def _make_calls(calls: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (call := calls.get()) is not None:
        call()
        del call  # it holds the environment, which may be dropped while this waits


@dataclass(slots=True)
class Snapshot:
    """A handle to a saved state; ``free()`` gives back what it holds (a process, a context) and may be called twice."""

    state: Any
    release: Callable[[], None] | None = None

    def free(self) -> None:
        if self.release is not None:
            self.release()
            self.release = None
        self.state = None


@runtime_checkable
class Snapshots(Protocol):
    """Exact save and restore of everything: state, random generator, counters."""

    def snapshot(self) -> Snapshot: ...
    def restore(self, snapshot: Snapshot) -> None: ...


@runtime_checkable
class Expert(Protocol):
    """A next action that leads to success, from what the agent may know."""

    def expert(self) -> Action: ...


@runtime_checkable
class Admissible(Protocol):
    """Every action that means something now, in a fixed order."""

    def admissible_actions(self) -> list[Action]: ...


def digest(value: Any) -> str:
    """A short process-independent digest of plain data; types and nesting count, dictionary order does not."""
    return hashlib.blake2b(json.dumps(plain(value), sort_keys=True).encode(), digest_size=8).hexdigest()


def key_of(env: Any, observation: Observation) -> str:
    """The anchor key of an environment now: digest of ``state_key()``, or of the observation where it gives none."""
    key = env.state_key() if hasattr(env, "state_key") else None
    return digest(observation if key is None else key)


def beside(env: Any) -> dict[str, Any]:
    """What else an environment tells of its state now, for a turn's ``info``: ``privileged_key`` and ``scores``."""
    told: dict[str, Any] = {}
    if (key := env.privileged_key() if hasattr(env, "privileged_key") else None) is not None:
        told["privileged_key"] = digest(key)
    if (potential := env.potential() if hasattr(env, "potential") else None) is not None:
        if not math.isfinite(potential):
            raise ValueError(f"a potential must be finite, not {potential}")
        told["scores"] = {"potential": float(potential)}
    return told


def plain(value: Any) -> Any:
    """The same data out of what JSON knows; ``plain(plain(x)) == plain(x)``."""
    if type(value) is str or type(value) is int:  # most of what there is, and states are many
        return value
    if isinstance(value, ToolCall):
        return {"tool": value.name, "arguments": plain(value.arguments)}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, set | frozenset):
        return ["set", *sorted(json.dumps(plain(v), sort_keys=True) for v in value)]
    if hasattr(value, "tolist"):  # numpy scalars and arrays: dtype and shape count
        return [str(getattr(value, "dtype", "")), list(getattr(value, "shape", ())), value.tolist()]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a state key holds plain data only, not {type(value).__name__}")


_LOOP_THREAD = "agentrl-sync"


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from plain code, in a notebook's running loop too.

    All of them share one loop in a background thread, so that what an environment holds open between two calls (a
    connection, a browser) stays usable.
    """
    if threading.current_thread().name == _LOOP_THREAD:
        coroutine.close()
        raise RuntimeError("a coroutine of an environment must await areset() and astep(), not call reset() and step()")
    future = asyncio.run_coroutine_threadsafe(coroutine, background_loop(_LOOP_THREAD))
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
