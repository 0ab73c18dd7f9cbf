"""The confidence that a turn states of itself, read off its call or its text."""

from __future__ import annotations

import re

from agentrl.types import ToolCall, Turn

_STATED = re.compile(r"confidence\W{0,4}(\d{1,3}(?:\.\d{1,9})?)(?![\d.]\d)\s?(%?)", re.IGNORECASE)


def stated_confidence(turn: Turn) -> float | None:
    """The confidence in [0, 1] that a turn states: an argument ``confidence`` of its call, else ``confidence: 0.8`` or
    ``80%`` in its text, the last one counting. None where there is none, or it is no number in [0, 1].
    """
    calls = turn.action if isinstance(turn.action, list) else [turn.action]
    for call in calls:
        if isinstance(call, ToolCall) and "confidence" in call.arguments:
            return _share(call.arguments["confidence"])
    found = _STATED.findall(turn.text)
    return _share(float(found[-1][0]) / (100 if found[-1][1] else 1)) if found else None


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
