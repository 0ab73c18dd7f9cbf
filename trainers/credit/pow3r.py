"""POW3R: criteria of a rubric weigh more where the trajectories of a group differ on them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.errors import unknown
from agentrl.trainers.credit.normalise import spread
from agentrl.trainers.credit.prices import charged, on_last_turns
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("pow3r", needs=["rewards"])
def pow3r(
    table: TurnTable,
    state: Any,
    *,
    weights: dict[str, Annotated[float, Field(ge=0)]],
    categories: dict[str, list[str]] | None = None,
    zero_tol: float = 1e-9,
) -> tuple[TurnTable, Any]:
    """``R' = R + sum_j (w'_j - 1) s_j``, ``w'_j = w_j c_j sum_C w / sum_C (w c)``, ``c_j = std_G(s_j)``.

    The criteria j are the rewards named in ``weights``; the outcome holds each of them once and then ``w'_j`` times,
    the change lying on the last turn. ``C`` is j's category (all criteria, unless ``categories`` names them), so that
    each keeps its total weight in every group. Where no criterion of a category tells the group apart, its weights
    stay. A criterion that is met by all or by none so fades for that group only; nothing changes in evaluation.

    Source: POW3R, inferred from its abstract: which measure of contrast it takes was not seen. Confidence low.
    """
    shared = list((categories or {}).values())
    for name in (name for names in shared for name in names):
        if name not in weights:
            raise unknown("criterion in categories of pow3r", name, weights)
    rest = [name for name in weights if not any(name in names for names in shared)]
    gain = np.zeros(len(table.ids))
    for names in filter(None, [*shared, rest]):
        score = np.array([table.rewards.get(name, np.zeros(len(table.ids))) for name in names])  # [J, M]
        own = np.array([weights[name] for name in names])[:, None]
        contrast = np.array([spread(s, table.group, zero_tol=zero_tol) for s in score])
        total = (own * contrast).sum(0)
        told = np.abs(total) > zero_tol
        changed = np.where(told, own * contrast * own.sum() / np.where(told, total, 1.0), own)
        gain += ((changed - 1) * score).sum(0)
    return charged(table, on_last_turns(table, -gain)), state
