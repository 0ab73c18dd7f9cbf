"""VCPO's step hook: the learning rate falls with the effective number of trajectories that stale weights leave.

Source: github.com/mit-han-lab/vcpo (recipe/fully_async_policy/staleness_utils.py). A proxy of its baseline, which takes
one backward pass a trajectory there, is the estimator ``opob``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np


def effective(log_weights: Sequence[float]) -> float:
    """Kish's effective sample size of the weights ``exp(log_weights)`` [B], as a share of B; 1 where all are equal.

    Taken over the trajectories of an optimiser step; the largest weight is divided out, which changes nothing.
    """
    if not len(log_weights):
        return 1.0
    log = np.asarray(log_weights, np.float64)
    weights = np.exp(log - log.max())
    return float(weights.sum() ** 2 / (weights**2).sum() / len(weights))


def rate(log_weights: Sequence[float], base: float, rule: Literal["sqrt", "linear"]) -> float:
    """What the learning rate of this step is multiplied by: ``min(1, effective / base)``, or its root (for Adam)."""
    share = min(1.0, effective(log_weights) / base)
    return share**0.5 if rule == "sqrt" else share
