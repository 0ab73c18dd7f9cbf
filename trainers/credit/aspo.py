"""ASPO: among successes that used a tool, a bonus for those that used it early, too small to turn a sign."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import modulator
from agentrl.trainers.credit.table import Floats, TurnTable


@modulator("aspo", needs=["tool_calls"])
def aspo(
    table: TurnTable,
    advantages: Floats,
    state: Any,
    *,
    delta: float = -2.0,
    k: Annotated[float, Field(ge=0, lt=1)] = 0.7,
) -> tuple[Floats, Any]:
    """``A' = A + clip(delta (p - mean p) / mean L, -k |A|, k |A|)`` -> [N].

    ``p``: sampled tokens before the turn of the trajectory's first tool call; ``L``: its sampled tokens; means over
    the group's successes that called a tool. Other trajectories keep their advantages, and so do groups where no
    tokens were sampled. With ``delta`` below 0 early calls earn more; as ``k`` is below 1 no sign is turned. It comes
    after normalisation, which would undo a reward. The paper's aggressive setting is ``delta=-2.5, k=0.9``.

    Source: ASPO (arXiv 2508.19201), from memory. Confidence medium; whom the means are over is unverified.
    """
    called = table.tool_calls > 0
    before = np.cumsum(table.tokens) - table.tokens
    before = before - before[table.start][table.trajectory]  # sampled tokens of the trajectory before each turn
    length = table.total(table.tokens)
    first = np.full(len(table.ids), np.inf)
    np.minimum.at(first, table.trajectory[called], before[called])
    chosen = table.success & np.isfinite(first)
    size = table.group.max(initial=-1) + 1
    count = np.maximum(np.bincount(table.group[chosen], minlength=size), 1)
    position = np.bincount(table.group[chosen], first[chosen], size) / count
    typical = np.bincount(table.group[chosen], length[chosen], size) / count
    bonus = np.zeros(len(table.ids))
    told = chosen & (typical[table.group] > 0)
    bonus[told] = delta * (first[told] - position[table.group[told]]) / typical[table.group[told]]
    bound = k * np.abs(advantages)
    return advantages + np.clip(bonus[table.trajectory], -bound, bound), state
