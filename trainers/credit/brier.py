"""Brier reward: what an answer says of its own chance to be right is part of what it is worth."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.prices import charged, on_last_turns
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("brier")
def brier(
    table: TurnTable,
    state: Any,
    *,
    weight: Annotated[float, Field(ge=0)] = 0.5,
    unstated: Annotated[float, Field(ge=0)] = 0.1,
) -> tuple[TurnTable, Any]:
    """``R' = R - weight (q - success)^2``, off the last turn's reward; ``q``: its score ``confidence``.

    The confidence is an argument ``confidence`` of the last turn's call, or stands in its text (``confidence: 0.8``,
    ``80%``). Where it states none in [0, 1], ``q`` is 0.5 and ``unstated`` is taken off too. The expected reward is
    greatest where ``q`` is the true chance of success. Published weights are 0.5 to 1; ``unstated`` is ours.

    Source: Confidence Dichotomy, inferred from its abstract; the Brier score (1950). Confidence in constants low.
    """
    nobody = np.full(len(table), np.nan)
    said = table.scores.get("confidence", nobody)[table.start + table.length - 1]
    q = np.where(np.isnan(said), 0.5, said)
    price = weight * (q - table.success) ** 2 + unstated * np.isnan(said)
    return charged(table, on_last_turns(table, price)), state
