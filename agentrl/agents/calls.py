"""Two ways to call tools in plain text, for models whose chat template knows none: XML tags, and ReAct.

Both know the tools, so that a tool with one required argument is called with that argument alone:
``<python>print(6 * 7)</python>``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from agentrl.agents.formats import (
    MAX_ACTION_CHARS,
    Format,
    ParseError,
    called,
    json_object,
    one_or_all,
    sized,
    without_thinking,
)
from agentrl.types import Action, ToolCall, calls_of

_TAGS = re.compile(r"<(?=/?(?:think|tool|answer)>)")


class Tags(Format):
    """``<search>words</search>``, ``<tool>{"name": ..., "arguments": {...}}</tool>``, ``<answer>text</answer>``.

    Several calls may stand in one reply; what stands between them is for people. As in Search-R1 (arXiv:2503.09516),
    ReTool (2504.11536) and ARPO (2507.19849). A tag that is not closed is an error: the reply was cut.
    """

    native = False

    def __init__(self, tools: Sequence[dict[str, Any]] = ()) -> None:
        self.alone = _alone(tools)
        names = "|".join(map(re.escape, sorted({"tool", "answer", *self.alone}, key=len, reverse=True)))
        self._opening = re.compile(f"<({names})>")
        short = ", ".join(f"<{name}>{argument}</{name}>" for name, argument in self.alone.items())
        self.instructions = (
            (f"Call a tool with {short}. " if short else "")
            + 'Call any tool with <tool>{"name": ..., "arguments": {...}}</tool>. Several calls may follow each other. '
            "Give a plain answer in <answer> and </answer>."
        )

    def parse(self, text: str) -> Action:
        text = sized(without_thinking(text), "The reply is empty. Call a tool or answer.")
        calls: list[ToolCall] = []
        at = 0
        while opening := self._opening.search(text, at):
            name = opening[1]
            end = text.find(f"</{name}>", opening.end())
            if end < 0:
                raise ParseError(f"The tag <{name}> is not closed.")
            body = text[opening.end() : end]
            at = end + len(name) + 3
            if name == "answer" and "answer" not in self.alone:
                if not calls:
                    return sized(body, "The answer is empty.")
                break  # an answer beside calls was written without their results
            calls.append(self._call(name, body))
        if not calls:
            raise ParseError("No call and no answer found. Use the tags of a tool, or <answer> and </answer>.")
        return one_or_all(calls)

    def render(self, action: Action) -> str:
        if isinstance(action, str):
            return f"<answer>{action}</answer>"
        return "\n".join(self._text(call) for call in calls_of(action))

    def _call(self, name: str, body: str) -> ToolCall:
        if name == "tool" and "tool" not in self.alone:
            return called(body)
        return ToolCall(name, **{self.alone[name]: body.strip("\n")})

    def _text(self, call: ToolCall) -> str:
        value = call.arguments.get(self.alone.get(call.name, ""))
        fits = (
            isinstance(value, str) and value.strip("\n") == value and not re.search(rf"</{call.name}>|</?think>", value)
        )
        if call.name in self.alone and len(call.arguments) == 1 and fits and len(str(value)) < MAX_ACTION_CHARS:
            return f"<{call.name}>{value}</{call.name}>"
        body = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
        escaped = _TAGS.sub(r"\\u003c", body)  # a tag inside an argument is no tag
        return f"<tool>{escaped}</tool>"


class ReAct(Format):
    """Lines ``Action: name`` and ``Action Input: {...}``, after lines of thought; ``Final Answer: text`` ends.

    As in ReAct (arXiv:2210.03629), with JSON for arguments; several pairs are several calls. Generation stops where
    the model would write an observation of its own.
    """

    stop = ("\nObservation:",)
    native = False
    _head = re.compile(r"^(Thought|Action Input|Action|Observation|Final Answer):[ \t]*", re.MULTILINE)

    def __init__(self, tools: Sequence[dict[str, Any]] = ()) -> None:
        self.alone = _alone(tools)
        self.instructions = (
            "Think in a line that begins with Thought:, then call a tool with the two lines Action: its name, and "
            "Action Input: its arguments as a JSON object. Further pairs are further calls. "
            "Give a plain answer in a line that begins with Final Answer:."
        )

    def parse(self, text: str) -> Action:
        text = sized(without_thinking(text), "The reply is empty. Call a tool or answer.")
        heads = list(self._head.finditer(text))
        calls: list[ToolCall] = []
        name: str | None = None
        for head, end in zip(heads, [*(following.start() for following in heads[1:]), len(text)], strict=False):
            body = text[head.end() : end].strip()
            match head[1]:
                case "Final Answer" if not calls:
                    return sized(text[head.end() :], "The answer is empty.")
                case "Final Answer" | "Observation":
                    break
                case "Action":
                    name = sized(body, "The action is empty.")
                case "Action Input":
                    if name is None:
                        raise ParseError("An Action Input follows an Action.")
                    calls.append(ToolCall(name, **self._arguments(name, body)))
                    name = None
        if name is not None:
            calls.append(ToolCall(name))
        if not calls:
            raise ParseError("No Action and no Final Answer found.")
        return one_or_all(calls)

    def render(self, action: Action) -> str:
        if isinstance(action, str):
            return f"Final Answer: {action}"
        return "\n".join(f"Action: {c.name}\nAction Input: {_dumped(c.arguments)}" for c in calls_of(action))

    def _arguments(self, name: str, body: str) -> dict[str, Any]:
        if name in self.alone and not body.startswith("{"):
            return {self.alone[name]: body}
        return json_object(body, "An Action Input") if body else {}


def _alone(tools: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Tools that can be called with their one required argument: name -> argument."""
    found = {}
    for schema in tools:
        function = schema["function"]
        required = function["parameters"].get("required", [])
        plain = [n for n in required if function["parameters"]["properties"][n].get("type") not in ("array", "object")]
        if len(required) == len(plain) == 1:
            found[function["name"]] = required[0]
    return found


def _dumped(arguments: dict[str, Any]) -> str:
    return re.sub(r"<(?=/?think>)", r"\\u003c", json.dumps(arguments, ensure_ascii=False))
