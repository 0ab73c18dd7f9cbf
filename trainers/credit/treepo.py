"""TreePO: a trajectory against the whole group, and against each smaller group that it shares its beginning with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from agentrl.trainers.credit.normalise import Singleton, group_centred, whitened
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, Ints, TurnTable
from agentrl.trainers.credit.trees import owners


@estimator("treepo", needs=["outcome", "parent"])
def treepo(
    table: TurnTable,
    state: Any,
    *,
    strategy: Literal["average", "group_size"] = "average",
    depth: Literal["turns", "branches"] = "turns",
    drop_zero_std: bool = False,
    scale: bool = True,
    singleton: Singleton = "zero",
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A_i = mean over d of (R_i - mean of R over G_d(i))``, then whitened over sampled tokens -> [N].

    ``G_0`` is the group and always counts; ``G_d``, d > 0, are the trajectories that share turn d - 1 with i, and
    counts where it has more than one. ``depth="branches"`` counts a ``G_d`` only where it is smaller than the one
    before, so that a long shared stretch weighs as much as a short one. ``strategy="group_size"`` weights by
    ``|G_d|``; ``drop_zero_std`` leaves out smaller groups whose outcomes are equal (the paper found it harmful).
    ``scale=False`` leaves out the whitening. One advantage a trajectory, the same for all its turns, less each row's
    own ``penalty``. The published code is ``singleton="raw"`` with segments of fixed length in place of turns, and
    ``strategy="group_size"`` by default, which the paper found worse.

    Source: TreePO (arXiv 2508.17445).
    """
    total, weights = np.zeros(len(table.ids)), np.zeros(len(table.ids))
    for i, values, weight in depths(table, strategy, depth, drop_zero_std, singleton, zero_tol):
        total[i] += weight * values
        weights[i] += weight
    advantages = (total / weights)[table.trajectory] - table.penalty
    return whitened(advantages, table.tokens) if scale else advantages, state


def depths(
    table: TurnTable,
    strategy: Literal["average", "group_size"] = "average",
    depth: Literal["turns", "branches"] = "turns",
    drop_zero_std: bool = False,
    singleton: Singleton = "zero",
    zero_tol: float = 1e-9,
) -> Iterator[tuple[Ints, Floats, Floats]]:
    """For each depth d: trajectories, ``R_i - mean of R over G_d(i)``, and its weight: 0 where it does not count."""
    m = len(table.ids)
    before = np.bincount(table.group)[table.group]
    first = before.astype(np.float64) if strategy == "group_size" else np.ones(m)
    yield np.arange(m), group_centred(table.outcome, table.group, zero_tol=zero_tol, singleton=singleton), first
    owner = owners(table)
    for d in range(table.length.max(initial=0)):
        rows = np.flatnonzero((table.turn == d) & (before > 1)[table.trajectory])
        if not len(rows):
            return
        i = table.trajectory[rows]
        size = np.bincount(owner[rows], minlength=len(table))[owner[rows]]
        counts = size > 1
        if depth == "branches":
            counts &= size < before[i]
        own = table.outcome[i]
        if drop_zero_std:
            counts &= _spread(own, owner[rows], len(table)) > zero_tol
        weight = np.where(counts, size if strategy == "group_size" else 1.0, 0.0)
        yield i, group_centred(own, owner[rows], zero_tol=zero_tol), weight
        before = np.zeros(m, np.int64)
        before[i] = size


def _spread(values: Floats, node: Any, size: int) -> Floats:
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    np.minimum.at(low, node, values)
    np.maximum.at(high, node, values)
    spread: Floats = (high - low)[node]
    return spread
