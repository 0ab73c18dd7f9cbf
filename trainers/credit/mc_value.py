"""Monte-Carlo values: what a turn gained, as continuations from the states before and after it show."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("mc-value", needs=["mc_values"])
def mc_value(table: TurnTable, state: Any, *, gamma: Annotated[float, Field(ge=0, le=1)] = 1.0) -> tuple[Floats, Any]:
    """``A_t = r_t + gamma V_{t+1} - V_t`` -> [N], ``V_t``: mean return of continuations from the state before turn t.

    ``V`` after a last turn is 0: continuations know the same limits, so nothing can follow. A turn's own ``penalty``
    is taken off its A. The continuations earn the environment's own rewards: a transform that changes rewards (other
    than by ``penalty``) is in ``r_t`` and not in ``V``. Unbiased for the policy that played, with the error of ``k``
    draws in both values.

    Source: MC-Critic (ProAct) and Segment PO, inferred from their abstracts; cut at every turn. Confidence medium.
    """
    after = np.append(table.mc_values[1:], 0.0)
    after[table.start + table.length - 1] = 0.0
    return table.reward + gamma * after - table.mc_values - table.penalty, state
