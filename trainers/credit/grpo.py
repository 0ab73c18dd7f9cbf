"""GRPO and Dr.GRPO: a trajectory's outcome against those of its group, the same for each of its turns."""

from __future__ import annotations

from typing import Any, Literal

from agentrl.trainers.credit.normalise import Singleton, group_centred
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("grpo", needs=["outcome"])
def grpo(
    table: TurnTable,
    state: Any,
    *,
    std: bool = True,
    statistics: Literal["rows", "trajectories"] = "trajectories",
    singleton: Singleton = "zero",
    normalize_by_length: bool = False,
    ddof: int = 1,
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = (R - mean_G) / (std_G + eps)`` -> [N].

    A row's score is its trajectory's outcome less the row's own ``penalty``. ``statistics``: one sample a trajectory
    (its first row), or one a row, where long trajectories weigh more, as verl-agent has it. ``std=False`` is Dr.GRPO.
    ``normalize_by_length`` divides the outcome by the number of turns. The published code is ``statistics="rows",
    singleton="raw", zero_tol=0``.

    Source: DeepSeekMath (arXiv 2402.03300); Dr.GRPO (arXiv 2503.20783); rows of turns as in verl-agent.
    """
    outcome = table.outcome / table.length if normalize_by_length else table.outcome
    advantages = group_centred(
        outcome[table.trajectory] - table.penalty,
        table.turn_group,
        std=std,
        ddof=ddof,
        eps=eps,
        zero_tol=zero_tol,
        singleton=singleton,
        sample=table.turn == 0 if statistics == "trajectories" else None,
    )
    return advantages, state
