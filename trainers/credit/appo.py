"""APPO: branches are tries; what they earned goes to the turns before them, and they train nothing themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.normalise import Singleton, group_centred
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("appo", needs=["outcome", "parent"])
def appo(
    table: TurnTable,
    state: Any,
    *,
    std: bool = True,
    weight_branches: float = 1.0,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A(turn) = A_i + mean of A_b over the branches b of i after that turn``; 0 for all turns of branches -> [N].

    ``A`` is the outcome against its group's, less the mean and divided by the population deviation, fresh episodes and
    branches apart. A branch counts for the turns that it shares with its parent, and where it was cut within a reply
    for the turn of that reply; the published code gives it to tokens. A branch of a branch counts for its own parent,
    which trains nothing.

    Source: APPO, published code.
    """
    grown = table.parent >= 0
    kind = table.group * 2 + grown
    own = group_centred(table.outcome, kind, std=std, ddof=0, eps=eps, zero_tol=zero_tol, singleton=singleton)
    reach = table.branch_turn + (table.branch_token > 0)
    gained, covering = np.zeros(len(table)), np.zeros(len(table))
    for branch in np.flatnonzero(grown):
        start = table.start[table.parent[branch]]
        covered = slice(start, start + min(reach[branch], table.length[table.parent[branch]]))
        gained[covered] += own[branch]
        covering[covered] += 1
    advantages = own[table.trajectory] + weight_branches * gained / np.maximum(covering, 1) - table.penalty
    return np.where(grown[table.trajectory], 0.0, advantages), state
