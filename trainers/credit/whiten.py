"""One scale for the advantages of a batch."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from agentrl.trainers.credit.normalise import whitened
from agentrl.trainers.credit.registry import modulator
from agentrl.trainers.credit.table import Floats, TurnTable


@modulator("whiten", per_token=True)
def whiten(
    table: TurnTable, advantages: Floats, state: Any, *, per: Literal["token", "turn"] = "token", eps: float = 1e-8
) -> tuple[Floats, Any]:
    """``A' = (A - mean) / sqrt(var + eps)`` -> [N] or [T], over the batch.

    ``per``: what counts once, a sampled token (as in published token-level code) or a turn.
    """
    weight = table.tokens if per == "token" else np.ones(len(table))
    if len(advantages) != len(table):  # by token: those of a turn share its weight
        weight = (weight / np.maximum(table.tokens, 1))[table.token_turn]
    return whitened(advantages, weight, eps), state
