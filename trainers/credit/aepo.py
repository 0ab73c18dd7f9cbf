"""AEPO's entropy-aware advantage: turns of unusual entropy count more, those of usual entropy less."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.trainers.credit.registry import modulator
from agentrl.trainers.credit.table import Floats, TurnTable


@modulator("aepo", needs=["entropy"])
def aepo(
    table: TurnTable, advantages: Floats, state: Any, *, weight: float = 0.2, zero_tol: float = 1e-9
) -> tuple[Floats, Any]:
    """``A'_t = A_t (1 + weight z_t)``; ``z_t``: the turn's mean entropy at zero mean and unit size over the batch.

    A turn counts as often as it has sampled tokens. The published code does this token by token: a table with a row
    a token gives its numbers, at ``zero_tol=0`` (see :func:`entropy_aware`).

    Source: AEPO (arXiv 2510.14545), its released code; by turns is ours. Confidence high.
    """
    return entropy_aware(advantages, table.entropy, weight, zero_tol, table.tokens), state


def entropy_aware(
    advantages: npt.ArrayLike,
    entropy: npt.ArrayLike,
    weight: float = 0.2,
    zero_tol: float = 1e-9,
    count: npt.ArrayLike | None = None,
) -> Floats:
    """``A (1 + weight z)`` [n], with z the entropies at zero mean and unit size (sample deviation).

    ``count`` [n]: how often each one counts, once unless given. No gradient flows through z. With entropies that
    differ by less than ``zero_tol`` there is nothing to tell apart and the advantages stay; ``zero_tol=0``, as
    published, divides the rounding error of the mean by itself there. Below ``z = -1 / weight`` the sign turns, as it
    does in the published code.
    """
    a, h = np.asarray(advantages, np.float64), np.asarray(entropy, np.float64)
    times = np.ones(len(h)) if count is None or not np.any(count) else np.asarray(count, np.float64)
    n = times.sum()
    if n < 2:
        return a.copy()
    centred = h - (h.mean() if count is None else (times @ h) / n)
    deviation = float(np.sqrt((times @ centred**2) / (n - 1)))
    if deviation <= zero_tol:
        return a.copy()
    result: Floats = a * (1.0 + weight * centred / deviation)
    return result
