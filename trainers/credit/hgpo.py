"""HGPO: a turn against turns in the same state, and, with more weight, against those with the same history too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.grpo import grpo
from agentrl.trainers.credit.normalise import Singleton, group_centred, joint, returns_to_go
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, Ints, TurnTable


@estimator("hgpo", needs=["anchor"])
def hgpo(
    table: TurnTable,
    state: Any,
    *,
    history: Annotated[int, Field(ge=0)] = 2,
    alpha: Annotated[float, Field(ge=0)] = 1.0,
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.95,
    std: bool = True,
    base_group: bool = False,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = sum_k w_k a_k / (sum_k w_k + eps)``, ``w_k = (k + 1)^alpha`` -> [N], over levels k = 1 .. history + 1.

    At level k a turn is compared with the turns of its group whose last k states, the present one included, are the
    same: ``a_k = R_t - mean``, divided by ``std + eps`` (population deviation) where ``std`` is true. ``R_t`` is the
    discounted return less the turn's own ``penalty``; every visit counts. A turn alone at a level, or exactly at its
    mean (nearer than ``zero_tol``), has no such item; without any item A is 0. ``base_group`` adds the outcome's
    advantage over the rows of the group as level 0 with weight 1 (:func:`grpo`, ``statistics="rows"``); a group of
    one row then follows ``singleton``. Otherwise there is no term for the outcome as a whole.

    The published code is ``singleton="raw"``; it works in float32, where an item that ought to be 0 is often kept and
    dilutes the others.

    Source: HGPO (ICLR 2026); agrees with its recipe in verl-agent.
    """
    returns = returns_to_go(table, gamma) - table.penalty
    total, weights = np.zeros(len(table)), np.zeros(len(table))
    found = levels(table, returns, history, std, base_group, singleton, eps, zero_tol)
    for k, rows, values in found:
        weight = (k + 1) ** alpha if k else 1.0
        total[rows] += weight * values
        weights[rows] += weight * (values != 0)
    return total / (weights + eps), state


def levels(
    table: TurnTable,
    returns: Floats,
    history: int,
    std: bool = True,
    base_group: bool = False,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> Iterator[tuple[int, Ints, Floats]]:
    """Each level k, the rows that are not alone at it, and their ``a_k``."""
    if base_group:
        options: dict[str, Any] = {"std": std, "singleton": singleton, "eps": eps, "zero_tol": zero_tol}
        yield 0, np.arange(len(table)), grpo(table, None, statistics="rows", **options)[0]
    key = table.turn_group
    for k in range(1, history + 2):
        rows = np.flatnonzero(table.turn >= k - 1)
        if not len(rows):
            return
        # the same last k states: the same last k - 1, and the same one before those
        level = joint(key[rows], table.anchor[rows - k + 1])
        key = np.zeros(len(table), np.int64)
        key[rows] = level
        values = group_centred(returns[rows], level, std=std, ddof=0, eps=eps, zero_tol=zero_tol)
        company = np.bincount(level)[level] > 1
        yield k, rows[company], values[company]
