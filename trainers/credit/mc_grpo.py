"""MC-GRPO: medians in place of mean and deviation, for groups so small that one outcome moves the mean."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, Ints, TurnTable


@estimator("mc-grpo", needs=["outcome"])
def mc_grpo(
    table: TurnTable,
    state: Any,
    *,
    limit: Annotated[float, Field(gt=0)] | None = 5.0,
    eps: float = 1e-3,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = (R - b) / (median |R - b| + eps) * n / n'`` -> [N]; ``b``: the group's median, ``n'``: how many differ.

    Play an odd number of trajectories: then one of them is the median and gets 0. The published code takes that one
    out of the loss altogether, and has ``limit=None``: where more than half of a group's outcomes are equal the
    divisor is ``eps``, and the others get hundreds. ``limit`` bounds A before the row's own ``penalty`` is taken off.
    A lone trajectory gets 0.

    Source: MC-GRPO (its released code; the paper was not read).
    """
    centred = table.outcome - group_median(table.outcome, table.group)
    centred[np.abs(centred) < zero_tol] = 0.0
    size = np.bincount(table.group)
    differ = np.bincount(table.group, centred != 0)
    advantages = centred / (group_median(np.abs(centred), table.group) + eps)
    advantages *= (size / np.maximum(differ, 1))[table.group]
    if limit is not None:
        advantages = np.clip(advantages, -limit, limit)
    return advantages[table.trajectory] - table.penalty, state


def group_median(values: Floats, group: Ints) -> Floats:
    """[M] the median of each value's group; of an even number, the mean of the middle two."""
    size = np.bincount(group)
    first = np.cumsum(size) - size
    ordered = values[np.lexsort((values, group))]
    present = size > 0
    low, high = (first + (size - 1) // 2)[present], (first + size // 2)[present]
    median = np.zeros(len(size))
    median[present] = (ordered[low] + ordered[high]) / 2
    return median[group]
