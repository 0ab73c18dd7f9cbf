"""How an action is written in a reply: ``<action>`` tags, native tool calls, or plain text.

A format parses model output, which is hostile input: whatever it is, the answer is an action or a one-line
:class:`ParseError` that the agent is shown as its next observation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from agentrl.types import Action, ToolCall, calls_of

MAX_ACTION_CHARS = 20_000
MAX_DEPTH = 100  # of the arguments of a tool call


class ParseError(ValueError):
    """The reply holds no action; the message says what was expected."""


class Format:
    """``parse`` and ``render`` are inverse to each other on well-formed replies."""

    instructions: str = ""
    stop: tuple[str, ...] = ()
    native: bool = True  # calls are written as the chat template writes them, so the template tells of the tools

    def __init__(self, tools: Sequence[dict[str, Any]] = ()) -> None:
        """``tools``: schemas of those that the environment offers."""

    def parse(self, text: str) -> Action:
        raise NotImplementedError

    def render(self, action: Action) -> str:
        raise NotImplementedError


def without_thinking(text: str) -> str:
    """The reply after its last ``</think>``; an unclosed ``<think>`` hides all that follows it."""
    text = text.rsplit("</think>", 1)[-1]
    return text.split("<think>", 1)[0]


class ActionTags(Format):
    """``<think>...</think><action>go to desk 1</action>``; generation stops at the closing tag."""

    instructions = "Think between <think> and </think> if you like, then act between <action> and </action>."
    stop = ("</action>",)

    def parse(self, text: str) -> Action:
        before, closed, _ = without_thinking(text).rpartition("</action>")
        _, opened, action = before.rpartition("<action>")
        if not closed or not opened:
            raise ParseError("No action found. Give one command between <action> and </action>.")
        return sized(action.split("</action>", 1)[0], "The action is empty.")

    def render(self, action: Action) -> str:
        return f"<action>{_plain(action)}</action>"


class Text(Format):
    """The whole reply, without its thinking, is the action."""

    def parse(self, text: str) -> Action:
        return sized(without_thinking(text), "The reply is empty.")

    def render(self, action: Action) -> str:
        return _plain(action)


class Tools(Format):
    """Native tool calls as most chat templates write them: a JSON object in ``<tool_call>`` tags, one tag a call.

    A reply without a tag is a plain answer.
    """

    _pattern = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)

    def parse(self, text: str) -> Action:
        text = without_thinking(text)
        calls = [called(body) for body in self._pattern.findall(text)]
        return one_or_all(calls) if calls else sized(text, "The reply is empty. Call a tool or answer.")

    def render(self, action: Action) -> str:
        if isinstance(action, str):
            return action
        return "\n".join(f"<tool_call>{self._json(call)}</tool_call>" for call in calls_of(action))

    @staticmethod
    def _json(call: ToolCall) -> str:
        text = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
        return re.sub(r"<(?=/?(?:tool_call|think)>)", r"\\u003c", text)  # a tag inside an argument is no tag


def one_or_all(calls: list[ToolCall]) -> Action:
    """The action of a reply with these calls."""
    return calls[0] if len(calls) == 1 else calls


def json_object(body: str, what: str) -> dict[str, Any]:
    """A JSON object that a model wrote. Raises ParseError in one line, however long or deep it is."""
    body = sized(body, f"{what} is empty.")
    if max(accumulate((c in "[{") - (c in "]}") for c in body)) > MAX_DEPTH:
        raise ParseError(f"{what} is nested too deeply.")
    try:
        made = json.loads(body)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ParseError(f"{what} is a JSON object: {error}"[:200]) from None
    if not isinstance(made, dict):
        raise ParseError(f"{what} is a JSON object.")
    return made


def called(body: str) -> ToolCall:
    """A tool call that a model wrote as a JSON object. Raises ParseError."""
    call = json_object(body, "A tool call")
    name, arguments = call.get("name"), call.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ParseError('A tool call needs a "name" and an object of "arguments".')
    return ToolCall(name, **arguments)


def sized(action: str, empty: str) -> str:
    action = action.strip()
    if not action or len(action) > MAX_ACTION_CHARS:
        raise ParseError(f"The action is too long ({len(action)} characters)." if action else empty)
    return action


def _plain(action: Action) -> str:
    if not isinstance(action, str):
        raise ParseError(f"this format writes text commands, not {action!r}")
    return action
