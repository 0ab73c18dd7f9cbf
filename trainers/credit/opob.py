"""VCPO's baseline: a group's outcomes, weighted by how much each trajectory would move the policy."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.normalise import Singleton
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("opob", needs=["outcome", "entropy", "logprob"])
def opob(table: TurnTable, state: Any, *, singleton: Singleton = "zero", zero_tol: float = 1e-9) -> tuple[Floats, Any]:
    """``A = R_i - sum W R / sum W over the group`` -> [N]; ``W``: its turns' ``tokens (1 - 2 p + q)``, summed.

    The baseline of least variance weighs by squared gradient norms. Published code takes a backward pass a trajectory;
    this is a proxy: the squared norm of ``grad log p`` by the logits is ``1 - 2 p + sum p^2``. ``p`` is e to the mean
    logprob of a turn's tokens, and for ``sum p^2`` stands its lower bound ``q = max(p^2, exp -entropy)``. Weights are
    taken at the policy that sampled, so staleness is left to the loss. Where all W of a group are 0, they are equal.
    ``singleton``: a lone trajectory gets 0, or keeps its outcome. Turns nobody sampled weigh nothing.

    Source: VCPO's off-policy optimal baseline (published code); the proxy as in verl's optimal token baseline.
    """
    p = np.exp(np.nan_to_num(table.logprob, nan=0.0))
    sum_p2 = np.maximum(p**2, np.exp(-np.nan_to_num(table.entropy, nan=0.0)))
    weight = table.total(table.tokens * np.maximum(1 - 2 * p + sum_p2, 0.0))  # [M]
    total = np.bincount(table.group, weight)
    weight = np.where(total[table.group] > 0, weight, 1.0)
    score = table.outcome[table.trajectory] - table.penalty
    baseline = np.bincount(table.group, weight * score[table.start]) / np.bincount(table.group, weight)
    advantages = score - baseline[table.turn_group]
    advantages[np.abs(advantages) < zero_tol] = 0.0
    lone = (np.bincount(table.group) == 1)[table.turn_group]
    advantages[lone] = 0.0 if singleton == "zero" else score[lone]
    return advantages, state
