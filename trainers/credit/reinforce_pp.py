"""REINFORCE++: returns to go, brought to zero mean and unit size over all sampled tokens of the batch."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agentrl.trainers.credit.normalise import returns_to_go, whitened
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("reinforce-pp")
def reinforce_pp(
    table: TurnTable, state: Any, *, gamma: Annotated[float, Field(ge=0, le=1)] = 1.0, eps: float = 1e-8
) -> tuple[Floats, Any]:
    """``A = (R_t - mean) / sqrt(var + eps)`` -> [N], with ``R_t = r_t + gamma R_{t+1}`` less the turn's ``penalty``.

    Mean and variance count a turn as often as it has sampled tokens, over the whole batch; no group is looked at. A
    step is a turn here, so a discount works from turn to turn. The published code discounts from token to token, and
    starts the return anew at every token that was not sampled, which would cut off all but the last turn: a table
    with a row a token gives its numbers where no such token lies between.

    Source: REINFORCE++ (arXiv 2501.03262).
    """
    return whitened(returns_to_go(table, gamma) - table.penalty, table.tokens, eps), state
