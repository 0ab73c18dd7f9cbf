"""Step-GRPO: a turn's own reward against those of the same turn of its group's other trajectories."""

from __future__ import annotations

from typing import Any

from agentrl.trainers.credit.normalise import group_centred, joint
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("step-grpo", needs=["reward"])
def step_grpo(
    table: TurnTable,
    state: Any,
    *,
    std: bool = True,
    ddof: int = 1,
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A_t = (r_t - mean_t) / (std_t + eps)`` -> [N], over the group's trajectories that have a turn t.

    For environments that judge each turn by itself; a reward at the end only compares those that end at the same
    turn. ``r_t`` is less the row's own ``penalty``. A turn that no other trajectory reached gets 0. Add ``grpo`` with
    a weight for the outcome.

    Source: R1-Router's Step-GRPO; inferred from its abstract, constants not verified.
    """
    same_turn = joint(table.turn_group, table.turn)
    values = table.reward - table.penalty
    return group_centred(values, same_turn, std=std, ddof=ddof, eps=eps, zero_tol=zero_tol), state
