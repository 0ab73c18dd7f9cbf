"""DAPO's soft punishment of trajectories that come near the token limit."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.prices import charged, on_last_turns
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("overlong", needs=["tokens"])
def overlong(
    table: TurnTable,
    state: Any,
    *,
    limit: Annotated[int, Field(gt=0)] = 20480,
    buffer: Annotated[int, Field(gt=0)] = 4096,
    factor: float = 1.0,
) -> tuple[TurnTable, Any]:
    """``R' = R - factor * min(1, max(0, (tokens - (limit - buffer)) / buffer))``, taken off the last turn's reward.

    ``tokens``: sampled in the whole trajectory, over all its turns. Nothing up to ``limit - buffer``, all of
    ``factor`` from ``limit`` on. Defaults are the paper's, for one answer to a mathematical question.

    Source: DAPO (arXiv 2503.14476).
    """
    excess = np.clip((table.total(table.tokens) - (limit - buffer)) / buffer, 0.0, 1.0)
    return charged(table, on_last_turns(table, factor * excess)), state
