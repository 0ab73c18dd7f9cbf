"""IterResearch: rounds far from the end of an episode earn less, and all rounds of a group are compared."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agentrl.trainers.credit.normalise import Singleton, group_centred
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("iterresearch", needs=["outcome"])
def iterresearch(
    table: TurnTable,
    state: Any,
    *,
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.995,
    std: bool = True,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = (r_t - mean_G) / (std_G + eps)`` -> [N] with ``r_t = gamma^(T - t) R`` for round t of T (the last one).

    ``R``: the trajectory's outcome, so that among successes the shorter ones' early rounds earn more. Mean and
    deviation are over all rounds of all of the group's trajectories, each counted once. A row's own ``penalty`` is
    taken off its r.

    Rows are not dropped at random to a multiple of the workers, as there: batches need no padding here.

    Source: IterResearch (EAPO), from its abstract and memory. Confidence low to medium; ``gamma`` is unverified.
    """
    left = table.length[table.trajectory] - 1 - table.turn
    reward = gamma**left * table.outcome[table.trajectory] - table.penalty
    advantages = group_centred(reward, table.turn_group, std=std, eps=eps, zero_tol=zero_tol, singleton=singleton)
    return advantages, state
