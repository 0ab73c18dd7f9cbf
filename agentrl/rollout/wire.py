"""JSON lines between an engine and its worker processes: tool calls and tool records survive the trip."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import PurePath
from typing import Any

from agentrl.types import ToolCall, ToolRecord

INVALID = "invalid"  # the type of an error: the answer could not be sent
MAX_BYTES = 1 << 24  # of one answer: enough to hold any observation, too little to fill the engine's memory
_RECORD = {f.name for f in fields(ToolRecord)}


class Invalid(ValueError):
    """An answer that will not be sent."""


def dump(message: dict[str, Any]) -> bytes:
    return json.dumps(message, default=_encode).encode() + b"\n"


def load(line: bytes) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(line, object_hook=_decode)
    return message


def _encode(value: Any) -> Any:
    if isinstance(value, ToolCall):
        return {"$call": value.name, "arguments": value.arguments}
    if isinstance(value, ToolRecord):
        return {"$record": asdict(value)}
    if isinstance(value, set | frozenset):
        return sorted(value)
    if hasattr(value, "tolist"):  # numpy
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(
        f"an environment in a worker process may give plain data only, not {type(value).__name__}: {value!r:.80}"
    )


def _decode(value: dict[str, Any]) -> Any:
    # The whole shape is checked: an agent may write a dictionary that happens to hold one of our keys.
    if value.keys() == {"$call", "arguments"} and isinstance(value["arguments"], dict):
        return ToolCall(str(value["$call"]), **value["arguments"])
    if value.keys() == {"$record"} and isinstance(value["$record"], dict) and value["$record"].keys() == _RECORD:
        return ToolRecord(**value["$record"])
    return value
