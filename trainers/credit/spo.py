"""SPO: no groups; a trajectory against what its task has paid so far, which the method keeps a tally of."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("spo", needs=["outcome"])
def spo(
    table: TurnTable,
    state: Any,
    *,
    rho: Annotated[float, Field(ge=0, le=1)] = 0.875,
    prior: Annotated[float, Field(gt=0)] = 0.5,
    ddof: int = 1,
    eps: float = 1e-8,
) -> tuple[Floats, Any]:
    """``A = (R - v - mean) / (std + eps)``, ``v = alpha / (alpha + beta)`` of the task, over the batch -> [N].

    ``R`` is 1 for a success and 0 else. ``state``: task -> (alpha, beta), at first ``prior`` each; ``v`` is the one
    before this batch, and after it ``alpha = rho alpha + R``, ``beta = rho beta + 1 - R`` for each trajectory in the
    table's order. Meant for one trajectory a task. A row's own ``penalty`` is taken off last. The published code also
    lets ``rho`` fall, from 0.96 to 0.875, with how far the policy has moved on the task's last answer; this is its
    constant form. Which deviation it has was not seen.

    Source: SPO (single-stream), verl-recipe. Confidence medium.
    """
    tally: dict[str, list[float]] = {task: list(pair) for task, pair in (state or {}).items()}
    reward = table.success.astype(np.float64)
    names = [table.task_names[task] for task in table.task]
    before = [tally.get(name, [prior, prior]) for name in names]
    centred = reward - np.array([alpha / (alpha + beta) for alpha, beta in before])
    for name, r in zip(names, reward.tolist(), strict=True):
        alpha, beta = tally.get(name, [prior, prior])
        tally[name] = [rho * alpha + r, rho * beta + 1 - r]
    if len(centred):
        centred = centred - centred.mean()
        centred = centred / (np.sqrt((centred**2).sum() / max(len(centred) - ddof, 1)) + eps)
    return centred[table.trajectory] - table.penalty, tally
