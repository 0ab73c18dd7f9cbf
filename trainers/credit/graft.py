"""GRAFT: values of states from the group's own steps, and a turn by how much value it gained."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.graph import Graph
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("graft", needs=["outcome", "anchor"])
def graft(
    table: TurnTable,
    state: Any,
    *,
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.95,
    iterations: Annotated[int, Field(gt=0)] = 1000,
    tolerance: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = gamma V(s') - V(s)`` -> [N], ``V(u) = mean of gamma V(s') over the group's turns that began in u``.

    The mean over turns is the sum over actions and next states at the rates at which they were seen. After a last
    turn, ``V`` is the trajectory's outcome. Iterated until nothing moves by more than ``tolerance``, at most
    ``iterations`` times. A row's own ``penalty`` is taken off its A; nothing is normalised, so unequal groups keep
    unequal sizes.

    Source: GRAFT, appendix A; ``gamma`` is ours.
    """
    graph = Graph.of(table)
    nodes = len(graph.group)
    visits = np.maximum(np.bincount(graph.source, minlength=nodes), 1)
    outcome = table.outcome[table.trajectory]
    value = np.zeros(nodes)
    after = np.zeros(len(table))
    for _ in range(iterations):
        after = gamma * np.where(graph.last, outcome, value[graph.target])
        better = np.bincount(graph.source, after, nodes) / visits
        moved = np.abs(better - value).max(initial=0.0)
        value = better
        if moved <= tolerance:
            break
    return after - value[graph.source] - table.penalty, state
