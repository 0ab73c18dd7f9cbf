"""ALP: length costs more on tasks that are solved more often."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.prices import charged
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("alp", needs=["tokens"])
def alp(
    table: TurnTable, state: Any, *, beta: float = 1e-7, unit: Annotated[float, Field(gt=0)] = 1.0
) -> tuple[TurnTable, Any]:
    """``R' = R - beta / unit * max(p, 1 / K) * tokens``; ``p``: share of successes among the K of the group.

    Each turn pays for its own sampled tokens, success or not. ``unit`` is the number of tokens that counts as one
    (the longest allowed, say, with a ``beta`` near 0.1). ``beta`` is the paper's as far as was known; not verified.

    Source: ALP (arXiv 2506.05256).
    """
    size = np.maximum(np.bincount(table.group), 1)
    share = np.maximum(np.bincount(table.group, table.success), 1) / size
    return charged(table, beta / unit * share[table.turn_group] * table.tokens), state
