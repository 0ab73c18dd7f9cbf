"""Spaces for text agents. gymnasium.spaces.Text refuses ordinary sentences, so agentrl has its own two."""

from __future__ import annotations

from typing import Any

import gymnasium

from agentrl.types import Action, Observation, ToolCall, is_part


class Messages(gymnasium.Space[Observation]):
    """A sentence, or a list of chat messages (dictionaries with a ``role`` and a ``content``)."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def contains(self, x: Any) -> bool:
        if isinstance(x, str):
            return True
        return isinstance(x, list) and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and _is_content(m.get("content")) for m in x
        )

    def sample(self, mask: Any = None, probability: Any = None) -> Observation:
        return "text " + str(self.np_random.integers(10**6))

    def __repr__(self) -> str:
        return "Messages()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Messages)


def _is_content(x: Any) -> bool:
    return isinstance(x, str) or (isinstance(x, list) and bool(x) and all(is_part(part) for part in x))


class ActionSpace(gymnasium.Space[Action]):
    """A sentence, a tool call, or several tool calls in one turn."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def contains(self, x: Any) -> bool:
        if isinstance(x, str | ToolCall):
            return True
        return isinstance(x, list) and bool(x) and all(isinstance(call, ToolCall) for call in x)

    def sample(self, mask: Any = None, probability: Any = None) -> Action:
        return "text " + str(self.np_random.integers(10**6))

    def __repr__(self) -> str:
        return "ActionSpace()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActionSpace)
