"""RLOO: a trajectory's outcome against the mean of the others of its group."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.normalise import Singleton
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("rloo", needs=["outcome"])
def rloo(table: TurnTable, state: Any, *, singleton: Singleton = "zero", zero_tol: float = 1e-9) -> tuple[Floats, Any]:
    """``A = R_i - mean of R_j, j != i`` -> [N], which is ``n / (n - 1)`` times Dr.GRPO's.

    A row's score is its trajectory's outcome less the row's own ``penalty``; the others count with their first rows.
    ``singleton``: a lone trajectory gets 0, or keeps its score. The published code is ``singleton="raw",
    zero_tol=0``.

    Source: Back to Basics (arXiv 2402.14740).
    """
    score = table.outcome[table.trajectory] - table.penalty
    first = score[table.start]  # [M]
    others = np.bincount(table.group) - 1
    total = np.bincount(table.group, first)
    baseline = (total[table.group] - first) / np.maximum(others[table.group], 1)
    advantages = score - baseline[table.trajectory]
    advantages[np.abs(advantages) < zero_tol] = 0.0
    if singleton == "zero":
        advantages[(others == 0)[table.turn_group]] = 0.0
    return advantages, state
