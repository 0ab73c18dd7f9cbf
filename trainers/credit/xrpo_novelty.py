"""XRPO's novelty: a success by an unlikely way counts more."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import modulator
from agentrl.trainers.credit.table import Floats, TurnTable


@modulator("xrpo-novelty", needs=["logprob"])
def xrpo_novelty(
    table: TurnTable,
    advantages: Floats,
    state: Any,
    *,
    weight: Annotated[float, Field(ge=0)] = 1.0,
    limit: Annotated[float, Field(ge=0)] = 0.5,
) -> tuple[Floats, Any]:
    """``A' = A + min(max(weight (eta - 1), 0), limit |A|)`` for successes, ``eta = exp(mean_G s - s_i)`` -> [N].

    ``s_i``: the mean log-probability of the trajectory's sampled tokens when they were sampled; its mean over the
    group counts every trajectory once. So a success that was less likely than its group's usual gains, by at most
    ``limit`` times what it has, and nothing else changes. ``weight`` and ``limit`` are ours: the paper's were not
    seen.

    Source: XRPO (arXiv 2510.06672), from a review. Confidence in the formula medium, in constants none.
    """
    mean = table.total(table.logprob * table.tokens) / np.maximum(table.total(table.tokens), 1)
    usual = np.bincount(table.group, mean) / np.maximum(np.bincount(table.group), 1)
    novelty = np.exp(np.minimum(usual[table.group] - mean, 50.0)) - 1
    bonus = np.clip(weight * novelty * table.success, 0.0, None)[table.trajectory]
    return advantages + np.minimum(bonus, limit * np.abs(advantages)), state
