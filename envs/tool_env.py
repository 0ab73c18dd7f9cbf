"""Environments made of tools: the author writes ``start`` and a few typed methods, and the rest is given.

    @ar.register("Guess-v0", splits={"train": range(1000)}, max_turns=8)
    class Guess(ar.ToolEnv):
        def start(self, task, rng): ...      # -> the first message
        @ar.tool
        def compare(self, guess: int): ...   # -> what the agent reads
        @ar.tool(final=True)
        def submit(self, number: int): ...   # -> the reward; the episode ends

Without a final tool the episode ends at a plain answer, and ``score(answer)`` gives the reward.
"""

from __future__ import annotations

import copy
import inspect
import logging
import pickle
import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from agentrl.envs.core import Env, ResetResult, Snapshot, StepResult, run_sync
from agentrl.errors import UserError, unknown
from agentrl.tools.call import Called, call
from agentrl.tools.tool import Tool, Toolset, tools_of
from agentrl.types import Action, Message, Observation, ToolCall, ToolRecord, calls_of

_log = logging.getLogger(__name__)
# What belongs to the object, not to the episode.
_LEVELS = ("none", "replay", "exact")
_MACHINERY = frozenset({"_thread", "spec", "task_source", "snapshot_level", "_tried"})


class ToolEnv(Env):
    """Base class of environments whose actions are tool calls.

    A tool that raises :class:`agentrl.tools.ToolError` is read by the agent; any other exception is a failure of the
    environment. Tools and ``start`` may be coroutines. Set ``blocking = True`` where plain ones take their time.
    A class attribute that is a :class:`agentrl.tools.Toolset` (``python = Python()``) adds its tools: every instance
    has its own, begun afresh before ``start`` and closed with it. ``look = staticmethod(f)`` adds the tool ``f``.
    The instructions are the first paragraph of the docstring, unless ``instructions`` is set. Where ``start`` sets
    ``task_type``, success is reported by it, and by ``level``, how hard the task is, likewise.
    """

    blocking: ClassVar[bool] = False
    snapshot_level = "exact"
    _methods: ClassVar[dict[str, tuple[str, str, Tool]]] = {}  # tool name -> toolset or "", attribute, tool
    _toolsets: ClassVar[tuple[str, ...]] = ()
    _suspends: ClassVar[bool] = False
    _told: ClassVar[bool] = False
    _tried: bool = False
    _open: bool = False
    task_type: str = ""
    level: str = ""
    used: list[ToolCall]  # the calls of this episode that meant something, for experts and state keys

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__doc__ and "instructions" not in vars(cls):
            cls.instructions = inspect.cleandoc(cls.__doc__).split("\n\n")[0]
        sets = {n: v for base in reversed(cls.__mro__) for n, v in vars(base).items() if isinstance(v, Toolset)}
        cls._toolsets = tuple(sets)
        cls._methods = {}
        for home, owner in (("", cls), *sets.items()):
            for attribute, tool in tools_of(owner).items():
                if tool.name in cls._methods:
                    raise TypeError(f"{cls.__name__} has two tools named {tool.name!r}")
                cls._methods[tool.name] = home, attribute, tool
        cls.tools = [tool.schema for _, _, tool in cls._methods.values()]
        cls.snapshot_level = min([cls.snapshot_level, *(s.snapshot_level for s in sets.values())], key=_LEVELS.index)
        cls.at_once = min((n for n in (cls.at_once, *(s.at_once for s in sets.values())) if n), default=None)
        functions = [cls.start, cls.score, *(tool.function for _, _, tool in cls._methods.values())]
        waits = any(inspect.iscoroutinefunction(f) for f in functions) or any(s.blocking for s in sets.values())
        waits = waits or any(t.terms.seconds or t.terms.rate for _, _, t in cls._methods.values())
        if waits and "blocking" not in vars(cls):
            cls.blocking = True  # what waits can hang: the engine then holds it to its deadline
        cls._suspends = cls.blocking or waits

    def start(self, task: Any, rng: random.Random) -> Any:
        """Set up an episode; the first message. ``rng`` is the only randomness a snapshot covers."""
        raise NotImplementedError(f"{type(self).__name__} must define start(self, task, rng)")

    def score(self, answer: str) -> Any:
        """The reward of a plain answer, for environments without a final tool."""
        raise NotImplementedError(f"{type(self).__name__} needs a final tool or score(self, answer)")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        coroutine = self.areset(seed=seed, options=options)
        return run_sync(coroutine) if self._suspends else _run(coroutine)

    def step(self, action: Action) -> StepResult:
        coroutine = self.astep(action)
        return run_sync(coroutine) if self._suspends else _run(coroutine)

    async def areset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        task = self.pick_task(seed, options)
        self.rng = random.Random(seed)
        self.used = []
        for name in self._toolsets:
            if name not in vars(self):
                setattr(self, name, copy.copy(getattr(type(self), name)))
            await self.in_thread(getattr(self, name).reset)
        observation: Observation = await self._call(self.start, task, self.rng)
        self._open = True
        if self.snapshot_level == "exact" and not self._tried:
            self._try_snapshot()
        told = {"task_type": self.task_type, "level": self.level}
        return observation, {"task": task} | {name: value for name, value in told.items() if value}

    async def astep(self, action: Action) -> StepResult:
        if not self._open:
            raise RuntimeError(f"{type(self).__name__}: the episode is over, reset first")
        if isinstance(action, str):
            return await self._answer(action)
        calls = calls_of(action)
        if not calls or not all(isinstance(call, ToolCall) for call in calls):
            return self._refuse(f"An action is a call of one of the tools {', '.join(self._methods)}.")
        messages: list[Message] = []
        records: list[ToolRecord] = []
        valid = True
        for action in calls:
            called = await self._use(action)
            valid = valid and called.valid
            self.used += [action] if called.valid else []
            messages.append({"role": "tool", "name": action.name[:80], "content": called.content})
            final = action.name in self._methods and self._methods[action.name][2].final
            if not final:  # a final tool is the answer, not a use of a tool
                records.append(called.record)
            elif called.record.error is None:
                info = {"valid": valid, "tool_calls": records}
                return self._end(messages, called.result, f"final tool {action.name!r}", info)
        return messages, 0.0, False, False, {"valid": valid, "tool_calls": records}

    async def _use(self, action: ToolCall) -> Called:
        if action.name not in self._methods:
            line = str(unknown("tool", action.name[:80], self._methods))
            record = ToolRecord(action.name, action.arguments, error=line)
            return Called(record, f"error: {line}", valid=False)
        home, attribute, tool = self._methods[action.name]
        owner = getattr(self, home) if home else self
        return await call(tool, getattr(owner, attribute), action.arguments, self.in_thread)

    def close(self) -> None:
        for name in self._toolsets:
            if name in vars(self):
                with suppress(Exception):  # the next one is closed too
                    getattr(self, name).close()
        super().close()

    def snapshot(self) -> Snapshot:
        """Everything the attributes hold, generator included. Raises UserError where a tool's state cannot be saved."""
        if self.snapshot_level != "exact" and self._toolsets:
            names = ", ".join(n for n in self._toolsets if getattr(self, n).snapshot_level != "exact")
            raise UserError(f"{type(self).__name__} has no snapshots: {names} holds a state that cannot be copied")
        return Snapshot(self._pickled())

    def restore(self, snapshot: Snapshot) -> None:
        for name in self._state():
            delattr(self, name)
        vars(self).update(pickle.loads(snapshot.state))

    def _state(self) -> dict[str, Any]:
        return {n: v for n, v in vars(self).items() if n not in _MACHINERY and n not in self._toolsets}

    def _try_snapshot(self) -> None:
        """Learn from the first episode whether there are snapshots; one line a class says why not."""
        self._tried = True
        try:
            self._pickled()
        except UserError as error:
            self.snapshot_level = "none"
            if not type(self)._told:
                type(self)._told = True
                _log.warning("%s", error)

    def _pickled(self) -> bytes:
        try:
            return pickle.dumps(self._state(), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            raise UserError(f"{type(self).__name__} has no snapshots: {self._culprit()}") from error

    def _culprit(self) -> str:
        for name, value in self._state().items():
            try:
                pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                return f"attribute {name!r} is not plain data ({error})"
        return "its attributes together are not plain data"

    async def _answer(self, text: str) -> StepResult:
        final = [tool.name for _, _, tool in self._methods.values() if tool.final]
        if final:
            return self._refuse(f"Plain text does nothing here: call a tool, and {' or '.join(final)} to finish.")
        return self._end("", await self._call(self.score, text), "score", {"valid": True, "tool_calls": []})

    def _refuse(self, why: str) -> StepResult:
        return [{"role": "user", "content": f"error: {why}"}], 0.0, False, False, {"valid": False, "tool_calls": []}

    def _end(self, observation: Observation, result: Any, giver: str, info: dict[str, Any]) -> StepResult:
        try:
            reward = float(result)
        except (TypeError, ValueError):
            raise TypeError(f"{giver} of {type(self).__name__} must return the reward, not {result!r}") from None
        self._open = False
        return observation, reward, True, False, {**info, "success": reward >= 1.0}

    async def _call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        return await self.in_thread(lambda: function(*args, **kwargs))


def _run(coroutine: Any) -> Any:
    """Run a coroutine that never waits, without any event loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("an environment that says blocking = False waited for something; make its tools coroutines")
