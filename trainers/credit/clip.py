"""A bound on advantages."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import modulator
from agentrl.trainers.credit.table import Floats, TurnTable


@modulator("clip", per_token=True)
def clip(
    table: TurnTable, advantages: Floats, state: Any, *, limit: Annotated[float, Field(gt=0)] = 5.0
) -> tuple[Floats, Any]:
    """``A' = min(max(A, -limit), limit)`` -> [N] or [T]: one turn with a rare outcome cannot take over an update."""
    return np.clip(advantages, -limit, limit), state
