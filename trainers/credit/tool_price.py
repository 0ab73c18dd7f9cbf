"""A price for what a turn used: tool calls, tokens, and what the tools say they cost."""

from __future__ import annotations

from typing import Any

from agentrl.trainers.credit.prices import charged
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("tool-price", needs=["tool_calls", "tokens"], needs_if={"cost": "cost"})
def tool_price(
    table: TurnTable, state: Any, *, call: float = 0.01, token: float = 0.0, cost: float = 0.0
) -> tuple[TurnTable, Any]:
    """``r'_t = r_t - (call * tool calls + token * sampled tokens + cost * the tools' own cost)``, and so the outcome.

    Linear, and the same for success and failure; :mod:`otc` prices calls of successes only. Prices are ours: choose
    them so that a whole episode's stay well below what success is worth.
    """
    own = cost * table.cost if cost else 0.0  # a cost that nobody told is nan
    return charged(table, call * table.tool_calls + token * table.tokens + own), state
