"""The environment's expert beside a policy: what it would do in every state that the policy itself brings about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from agentrl.envs.core import plain
from agentrl.errors import UserError
from agentrl.seeds import derive
from agentrl.types import Action, ToolCall, Turn

_LABEL = "label"


@dataclass(frozen=True, slots=True)
class Teacher:
    """Labels every turn with the expert's action, and with probability ``beta`` acts in the policy's place.

    Source: DAgger (arXiv 1011.0686); for language agents, turn by turn, arXiv 2605.12913.
    """

    beta: float = 0.0

    async def label(self, env: Any, turn: Turn) -> Action:
        if not hasattr(env, "expert"):
            raise UserError(f"{type(env).__name__} has no expert, so there is nobody to label its turns")
        action: Action = await env.in_thread(env.expert)
        turn.info[_LABEL] = plain(action)
        return action

    def acts(self, seed: int, index: int) -> bool:
        """Whether the expert takes turn ``index`` itself."""
        return derive(seed, "teacher", index) / 2.0**62 < self.beta


def label_of(turn: Turn) -> Action | None:
    """The expert's action in this turn, where one was asked."""
    found = turn.info.get(_LABEL)
    if isinstance(found, list):
        return [_call(one) for one in found]
    return _call(found) if isinstance(found, dict) else found


def _call(found: dict[str, Any]) -> ToolCall:
    return ToolCall(found["tool"], **found["arguments"])
