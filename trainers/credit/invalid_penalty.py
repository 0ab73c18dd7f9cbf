"""A price for turns that were not an action, or an action without meaning where it was taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from agentrl.trainers.credit.prices import charged
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("invalid-penalty")
def invalid_penalty(
    table: TurnTable, state: Any, *, coef: float = 0.1, when: Literal["after", "before"] = "after"
) -> tuple[TurnTable, Any]:
    """Take ``coef`` off each invalid turn.

    ``after`` discounting (as the published GiGPO code has it): off that row's own score and return only, not shared
    with other turns of its trajectory. ``before``: off its reward and so off the outcome, hence discounted backwards.
    """
    penalty = np.where(table.valid, 0.0, coef)
    if when == "after":
        return replace(table, penalty=table.penalty + penalty), state
    return charged(table, penalty), state
