"""PRIME: outcomes, and what a reward model that learnt from outcomes alone says of each token."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.normalise import scan, whitened
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.rloo import rloo
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("prime", needs=["outcome", "token_rewards"], per_token=True)
def prime(
    table: TurnTable,
    state: Any,
    *,
    coef: Annotated[float, Field(ge=0)] = 5.0,
    norm: bool = True,
    whiten: bool = True,
    zero_tol: float = 1e-9,
    eps: float = 1e-8,
) -> tuple[Floats, Any]:
    """``A_t = RLOO(R) + coef sum over u >= t of (q_u - mean of mean q_j, j != i)``, then whitened -> [T].

    ``q``: the implicit process reward of each sampled token (recipe key ``prime``), with ``norm`` divided by the
    largest sum from a token on of the whole batch. A trajectory's mean q is over its tokens, and the baseline is the
    mean of those of the others in its group. Whoever is alone in a group gets 0 from both parts. A row's own
    ``penalty`` is taken off before whitening.

    Source: PRIME (arXiv 2502.01456), its released code as read. Confidence high in the formula.
    """
    length = np.add.reduceat(table.tokens, table.start) if len(table) else table.length
    owner = table.trajectory[table.token_turn]

    def onward(reward: Floats) -> Floats:
        return scan(reward, np.zeros(len(reward)), length, np.zeros(len(length)), 1.0, 1.0)

    q = table.token_rewards
    if norm and len(q):
        largest = np.abs(onward(q)).max()
        q = q / largest if largest > zero_tol else np.zeros(len(q))
    mean = np.bincount(owner, q, len(table.ids)) / np.maximum(length, 1)
    others = np.bincount(table.group)[table.group] - 1
    baseline = (np.bincount(table.group, mean)[table.group] - mean) / np.maximum(others, 1)
    process = np.where((others > 0)[owner], onward(q - baseline[owner]), 0.0)
    outcome, _ = rloo(table, None, zero_tol=zero_tol)
    total = outcome[table.token_turn] + coef * process
    return (whitened(total, np.ones(len(total)), eps) if whiten else total), state
