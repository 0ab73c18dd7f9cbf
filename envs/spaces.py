"""Spaces for text agents. gymnasium.spaces.Text refuses ordinary sentences, so agentrl has its own two."""

from __future__ import annotations

from typing import Any, TypeVar

import gymnasium

from agentrl.types import Action, Observation, ToolCall, is_part

T = TypeVar("T")


class _Talk(gymnasium.Space[T]):
    """A space of sentences and more; all of a kind are equal."""

    def __init__(self) -> None:
        super().__init__(None, None)

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        return "text " + str(self.np_random.integers(10**6))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)


class Messages(_Talk[Observation]):
    """A sentence, or a list of chat messages (dictionaries with a ``role`` and a ``content``)."""

    def contains(self, x: Any) -> bool:
        if isinstance(x, str):
            return True
        return isinstance(x, list) and all(
            isinstance(m, dict) and isinstance(m.get("role"), str) and _is_content(m.get("content")) for m in x
        )


class ActionSpace(_Talk[Action]):
    """A sentence, a tool call, or several tool calls in one turn."""

    def contains(self, x: Any) -> bool:
        if isinstance(x, str | ToolCall):
            return True
        return isinstance(x, list) and bool(x) and all(isinstance(call, ToolCall) for call in x)


def _is_content(x: Any) -> bool:
    return isinstance(x, str) or (isinstance(x, list) and bool(x) and all(is_part(part) for part in x))
