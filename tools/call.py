"""One call of a tool on its terms: checked arguments, a place in the queue, a time limit, a record of it all."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from agentrl.tools.tool import BadCall, Tool, ToolError, as_content, cut
from agentrl.types import Content, ToolRecord, text_of

_KEPT = 4096  # results that a cache keeps


@dataclass(slots=True)
class Called:
    """What a call gave: ``result`` as returned, ``content`` as the agent reads it. Not ``valid``: it meant nothing."""

    record: ToolRecord
    content: Content = ""
    result: Any = None
    valid: bool = True


async def call(
    tool: Tool,
    function: Callable[..., Any],
    arguments: dict[str, Any],
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> Called:
    """Call ``function``, the bound form of ``tool``. A plain function is run by ``in_thread``.

    What the agent did wrong, what the tool refuses, and a time limit are read by the agent; any other exception is
    the caller's.
    """
    called = Called(ToolRecord(tool.name, arguments))
    record, terms = called.record, tool.terms
    began = None
    try:
        parsed = tool.parse(arguments)
        began = time.perf_counter()
        called.result = await _result(tool, function, parsed, in_thread)
        if not terms.final:
            called.content = cut(as_content(called.result), terms.max_chars)
    except ToolError as error:
        called.valid = not isinstance(error, BadCall)
        record.error = str(error)
        called.content = cut(error.content, terms.max_chars)
    record.result_chars = len(text_of(called.content))
    if began is not None:
        record.seconds = time.perf_counter() - began
        record.cost = terms.price.of(record.seconds, record.result_chars)
    return called


async def _result(
    tool: Tool,
    function: Callable[..., Any],
    arguments: dict[str, Any],
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
) -> Any:
    terms = tool.terms
    if terms.cache:
        key = json.dumps(arguments, sort_keys=True, default=repr)
        with _lock:
            kept = _results.setdefault(tool.function, OrderedDict())
            if key in kept:
                kept.move_to_end(key)
                return kept[key]
    if terms.rate is not None:
        await asyncio.sleep(_turn(tool.function, terms.rate))
    try:
        async with asyncio.timeout(terms.seconds) if terms.seconds is not None else nullcontext() as limit:
            if inspect.iscoroutinefunction(function):
                result = await function(**arguments)
            else:
                result = await in_thread(lambda: function(**arguments))
    except TimeoutError:
        if limit is None or not limit.expired():  # the tool's own
            raise
        raise ToolError(f"{tool.name} took longer than {terms.seconds:g} s") from None
    if terms.cache:
        with _lock:
            kept[key] = result
            if len(kept) > _KEPT:
                kept.popitem(last=False)
    return result


_lock = threading.Lock()
_results: WeakKeyDictionary[Callable[..., Any], OrderedDict[str, Any]] = WeakKeyDictionary()
_next: WeakKeyDictionary[Callable[..., Any], float] = WeakKeyDictionary()


def _turn(function: Callable[..., Any], rate: float) -> float:
    """Seconds to wait until this call's place; places lie ``1 / rate`` apart."""
    with _lock:
        now = time.monotonic()
        at = max(now, _next.get(function, now))
        _next[function] = at + 1 / rate
    return at - now
