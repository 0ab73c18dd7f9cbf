"""Actions nobody should take, which an environment must survive: a policy that explores will find them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agentrl.envs.core import Env
from agentrl.types import Action, ToolCall

_TEXTS = (
    "",
    " \n\t",
    "x" * 100_000,
    "word " * 20_000,
    "\x00\x07\x1b[31m\u202e\ufeff",
    "\ud800",  # half a surrogate pair: cannot be encoded
    "日本語 ελληνικά العربية 🙂" * 100,
    "None",
    "-1",
    "{}",
    '{"name": 3, "arguments": []}',
    "<tool_call></tool_call>",
    "%s %n {0} {x} ${HOME} `id` ; rm -rf /",
    "../../../etc/passwd",
    "__import__('os').getcwd()",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    10**100,
    1e308,
    float("nan"),
    "",
    "x" * 100_000,
    "\ud800",
    [],
    [[]] * 1000,
    {},
    {"a": {"b": 1}},
)


def hostile_actions(env: Env) -> Iterator[Action]:
    """Texts for everybody; calls with wrong names and arguments where there are tools."""
    yield from _TEXTS
    if not env.tools:
        return
    yield []
    yield ToolCall("")
    yield ToolCall("no such tool", x=1)
    yield ToolCall("__init__")
    for schema in env.tools:
        name = schema["function"]["name"]
        yield ToolCall(name)
        yield ToolCall(name, no_such_argument=1)
        yield [ToolCall(name)] * 50
        arguments = schema["function"]["parameters"].get("properties", {})
        for value in _VALUES:
            yield ToolCall(name, **dict.fromkeys(arguments, value))
