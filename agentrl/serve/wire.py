"""The chat-completions protocol: what a client sends, checked, and what it is answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agentrl.agents.formats import ParseError, Tools
from agentrl.types import Action, Message, calls_of

ROLES = ("system", "user", "assistant", "tool")


class BadRequest(Exception):
    """What a client did wrong. The SDKs try 408, 409, 429 and 5xx again, so none of those stands for a mistake."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status

    def body(self) -> dict[str, Any]:
        said = {"message": str(self), "type": "invalid_request_error", "param": self.param, "code": self.code}
        return {"error": said}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. Fields that are not here (``top_p``, ``store``, ...) are taken and change nothing."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...]
    max_tokens: int | None
    temperature: float
    stop: tuple[str, ...]
    seed: int | None
    n: int
    stream: bool
    usage: bool  # whether a stream ends with what it cost

    @classmethod
    def of(cls, body: Any) -> Ask:
        """Raises BadRequest naming the field."""
        if not isinstance(body, dict):
            raise BadRequest("the body is a JSON object")
        stop = body.get("stop") or ()
        tools = body.get("tools") or []
        if body.get("tool_choice") == "none":
            tools = []
        if not isinstance(tools, list) or not all(_is_tool(tool) for tool in tools):
            raise BadRequest("tools is a list of functions, each with a name", "tools")
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        options = body.get("stream_options") or {}
        return cls(
            tuple(_messages(body.get("messages"))),
            tuple(tools),
            None if limit is None else int(_number(limit, "max_tokens", 1, 1 << 24)),
            float(_number(body.get("temperature", 1.0), "temperature", 0, 2)),
            _strings([stop] if isinstance(stop, str) else stop),
            None if body.get("seed") is None else int(_number(body["seed"], "seed", -(1 << 63), 1 << 63)),
            int(_number(body.get("n", 1), "n", 1, 64)),
            bool(body.get("stream")),
            bool(isinstance(options, dict) and options.get("include_usage")),
        )


def fingerprint(messages: Sequence[Message], tools: Sequence[dict[str, Any]]) -> str:
    """The same for histories that say the same, whatever order keys and spaces came in."""
    return hashlib.sha256(json.dumps([messages, tools], sort_keys=True).encode()).hexdigest()


def reply_of(text: str, stop: Sequence[str], tools: bool) -> tuple[Message, Action]:
    """What was said as a message, and as an action. Calls are looked for only where tools were offered."""
    for s in stop:
        text = text.partition(s)[0]
    message: Message = {"role": "assistant", "content": text}
    if not tools or "<tool_call>" not in text:
        return message, text
    try:
        action = Tools().parse(text)
    except ParseError:  # the agent is shown what was said
        return message, text
    calls = calls_of(action)
    if not calls:
        return message, text
    message["content"] = text.partition("<tool_call>")[0].strip()
    message["tool_calls"] = [{"function": {"name": c.name, "arguments": c.arguments}} for c in calls]
    return message, action


def choice(index: int, id: str, message: Message, cut: bool) -> dict[str, Any]:
    """A message as clients read it."""
    calls = [
        {
            "id": f"call-{id}-{i}",
            "type": "function",
            "function": {
                "name": call["function"]["name"],
                "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
            },
        }
        for i, call in enumerate(message.get("tool_calls", ()))
    ]
    said: dict[str, Any] = {"role": "assistant", "content": message["content"] or (None if calls else "")}
    reason = "tool_calls" if calls else "length" if cut else "stop"
    return {
        "index": index,
        "message": said | ({"tool_calls": calls} if calls else {}),
        "finish_reason": reason,
        "logprobs": None,
    }


def chunks(completion: dict[str, Any], usage: bool) -> Iterator[str]:
    """A completion as server-sent events."""
    head = {key: completion[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}

    def event(choices: list[dict[str, Any]], **more: Any) -> str:
        return f"data: {json.dumps(head | {'choices': choices} | more)}\n\n"

    for made in completion["choices"]:
        index, message = made["index"], made["message"]
        part = {"index": index, "finish_reason": None, "logprobs": None}
        yield event([part | {"delta": {"role": "assistant", "content": message["content"]}}])
        for i, call in enumerate(message.get("tool_calls", ())):
            yield event([part | {"delta": {"tool_calls": [{"index": i, **call}]}}])
        yield event([part | {"delta": {}, "finish_reason": made["finish_reason"]}])
    if usage:
        yield event([], usage=completion["usage"])
    yield "data: [DONE]\n\n"


def _messages(given: Any) -> Iterator[Message]:
    if not isinstance(given, list) or not given:
        raise BadRequest("messages is a list that is not empty", "messages")
    names: dict[str, str] = {}  # of called functions, by the call's id: templates want the name
    for i, message in enumerate(given):
        where = f"messages[{i}]"
        if not isinstance(message, dict):
            raise BadRequest(f"{where} is an object", where)
        role = "system" if message.get("role") == "developer" else message.get("role")
        if role not in ROLES:
            raise BadRequest(f"{where}.role is one of {', '.join(ROLES)}, not {role!r}", f"{where}.role")
        read: Message = {"role": role, "content": _text(message.get("content"), f"{where}.content")}
        if role == "assistant" and message.get("tool_calls"):
            read["tool_calls"] = [_call(call, f"{where}.tool_calls", names) for call in message["tool_calls"]]
        if role == "tool":
            name = names.get(str(message.get("tool_call_id")), message.get("name"))
            if isinstance(name, str):
                read["name"] = name
        yield read


def _text(content: Any, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("text"), str) for p in content):
        return "".join(part["text"] for part in content)
    raise BadRequest(f"{where} is text, or a list of parts of text", where)


def _call(call: Any, where: str, names: dict[str, str]) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRequest(f"{where}: each call has a function with a name", where)
    names[str(call.get("id"))] = function["name"]
    arguments = function.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            arguments = {"": arguments}
    return {"function": {"name": function["name"], "arguments": arguments}}


def _is_tool(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _number(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadRequest(f"{name} is a number from {low} to {high}, not {value!r}", name)
    return value


def _strings(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(s, str) and s for s in value):
        raise BadRequest("stop is a string or a list of strings", "stop")
    return tuple(value)
