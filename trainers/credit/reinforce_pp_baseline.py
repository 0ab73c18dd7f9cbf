"""REINFORCE++ with a baseline: a group's mean taken off, then one scale for the whole batch."""

from __future__ import annotations

from typing import Any

from agentrl.trainers.credit.normalise import Singleton, group_centred, whitened
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("reinforce-pp-baseline", needs=["outcome"])
def reinforce_pp_baseline(
    table: TurnTable, state: Any, *, singleton: Singleton = "zero", zero_tol: float = 1e-9, eps: float = 1e-8
) -> tuple[Floats, Any]:
    """``C = R - mean_G``, then ``A = (C - mean) / sqrt(var + eps)`` over the sampled tokens of the batch -> [N].

    A row's score is its trajectory's outcome less the row's own ``penalty``; the group's mean counts first rows, the
    batch's mean and variance count a turn as often as it has sampled tokens. So easy and hard tasks keep their
    different spreads, unlike in GRPO. The published code is ``singleton="raw", zero_tol=0``.

    Source: REINFORCE++ (arXiv 2501.03262).
    """
    centred = group_centred(
        table.outcome[table.trajectory] - table.penalty,
        table.turn_group,
        zero_tol=zero_tol,
        singleton=singleton,
        sample=table.turn == 0,
    )
    return whitened(centred, table.tokens, eps), state
