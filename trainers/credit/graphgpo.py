"""GraphGPO's step part: a turn by how near a success it led, against the turns that began in the same state."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.graph import Graph
from agentrl.trainers.credit.normalise import group_centred
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("graphgpo-step", needs=["anchor"])
def graphgpo_step(
    table: TurnTable,
    state: Any,
    *,
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.95,
    relative: bool = False,
    std: bool = True,
    scale: float = 10.0,
    ddof: int = 1,
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``q_t = scale * gamma^d(s')``, ``A = (q_t - mean_S) / (std_S + eps)`` over the turns S that share an anchor.

    ``d``: the fewest steps to a success, along steps that any trajectory of the group took; from where no way is
    known, one more than the farthest. ``relative``: ``gamma^(d(s') - d(s) + 1)``. A row's own ``penalty`` is taken
    off ``q_t``. A group without a success gives 0. A turn whose next state nobody recorded, because the episode was
    cut there, gets 0 and does not count for others. ``graphgpo`` is this and ``grpo`` added up. The published code
    is ``zero_tol=0`` in float32.

    Source: GraphGPO, its recipe in verl-agent.
    """
    graph = Graph.of(table)
    goals = np.unique(graph.target[graph.last & table.success[table.trajectory]])
    distance = graph.distance(goals)
    known = np.isfinite(distance)
    farthest = np.zeros(table.group.max(initial=-1) + 1)
    np.maximum.at(farthest, graph.group[known], distance[known])
    distance = np.where(known, distance, farthest[graph.group] + 1)
    exponent = distance[graph.target]
    if relative:
        exponent = exponent - distance[graph.source] + 1
    quality = scale * gamma**exponent - table.penalty
    seen = table.next_anchor >= 0
    advantages = group_centred(
        quality, anchor_groups(table), std=std, ddof=ddof, eps=eps, zero_tol=zero_tol, sample=seen
    )
    return np.where(seen, advantages, 0.0), state
