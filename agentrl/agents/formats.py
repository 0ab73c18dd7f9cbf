"""How an action is written in a reply: ``<action>`` tags, native tool calls, or plain text.

A format parses model output, which is hostile input: whatever it is, the answer is an action or a one-line
:class:`ParseError` that the agent is shown as its next observation.
"""

from __future__ import annotations

import json
import re
from typing import ClassVar, Protocol

from agentrl.errors import unknown
from agentrl.types import Action, ToolCall

MAX_ACTION_CHARS = 20_000


class ParseError(ValueError):
    """The reply holds no action; the message says what was expected."""


class Format(Protocol):
    """``parse`` and ``render`` are inverse to each other on well-formed replies."""

    instructions: ClassVar[str]
    stop: ClassVar[tuple[str, ...]]

    def parse(self, text: str) -> Action: ...
    def render(self, action: Action) -> str: ...


def without_thinking(text: str) -> str:
    """The reply after its last ``</think>``; an unclosed ``<think>`` hides all that follows it."""
    text = text.rsplit("</think>", 1)[-1]
    return text.split("<think>", 1)[0]


class ActionTags:
    """``<think>...</think><action>go to desk 1</action>``; generation stops at the closing tag."""

    instructions = "You may think between <think> and </think>. Then give one command between <action> and </action>."
    stop = ("</action>",)
    _pattern = re.compile(r"<action>(.*?)</action>", re.DOTALL)

    def parse(self, text: str) -> Action:
        found = self._pattern.findall(without_thinking(text))
        if not found:
            raise ParseError("No action found. Give one command between <action> and </action>.")
        action = str(found[-1]).strip()
        if not action or len(action) > MAX_ACTION_CHARS:
            raise ParseError("The action is empty." if not action else "The action is too long.")
        return action

    def render(self, action: Action) -> str:
        return f"<action>{_plain(action)}</action>"


class Text:
    """The whole reply, without its thinking, is the action."""

    instructions = ""
    stop = ()

    def parse(self, text: str) -> Action:
        action = without_thinking(text).strip()
        if not action:
            raise ParseError("The reply is empty.")
        return action[:MAX_ACTION_CHARS]

    def render(self, action: Action) -> str:
        return _plain(action)


class Tools:
    """Native tool calls as most chat templates write them: a JSON object in ``<tool_call>`` tags, one tag a call.

    A reply without a tag is a plain answer.
    """

    instructions = ""
    stop = ()
    _pattern = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)

    def parse(self, text: str) -> Action:
        text = without_thinking(text)
        calls = [self._call(body) for body in self._pattern.findall(text)]
        if len(calls) == 1:
            return calls[0]
        if calls:
            return calls
        answer = text.strip()
        if not answer:
            raise ParseError("The reply is empty. Call a tool or answer.")
        return answer[:MAX_ACTION_CHARS]

    def render(self, action: Action) -> str:
        if isinstance(action, str):
            return action
        calls = [action] if isinstance(action, ToolCall) else action
        return "\n".join(
            "<tool_call>" + json.dumps({"name": c.name, "arguments": c.arguments}, ensure_ascii=False) + "</tool_call>"
            for c in calls
        )

    @staticmethod
    def _call(body: str) -> ToolCall:
        try:
            call = json.loads(body[:MAX_ACTION_CHARS])
        except (json.JSONDecodeError, RecursionError) as error:
            raise ParseError(f"A tool call is a JSON object with name and arguments: {error}"[:200]) from None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise ParseError('A tool call needs a "name".')
        arguments = call.get("arguments", {})
        if not isinstance(arguments, dict):
            raise ParseError('The "arguments" of a tool call are a JSON object.')
        made = ToolCall(call["name"])
        made.arguments = arguments
        return made


FORMATS: dict[str, type[Format]] = {"action": ActionTags, "text": Text, "tools": Tools}


def format_named(name: str) -> Format:
    if name not in FORMATS:
        raise unknown("agent.format", name, [*FORMATS, "auto"])
    return FORMATS[name]()


def _plain(action: Action) -> str:
    if not isinstance(action, str):
        raise ParseError(f"this format writes text commands, not {action!r}")
    return action
