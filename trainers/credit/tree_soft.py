"""ARPO's soft attribution: every trajectory keeps its own advantage, on the turns it shares too."""

from __future__ import annotations

from typing import Any

from agentrl.trainers.credit.grpo import grpo
from agentrl.trainers.credit.normalise import Singleton
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("tree-soft", needs=["outcome", "parent"])
def tree_soft(
    table: TurnTable,
    state: Any,
    *,
    std: bool = True,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A(turn) = A_i`` of each trajectory i that holds the turn, by :func:`grpo` over whole trajectories -> [N].

    The numbers are grpo's. A shared turn is trained once in every trajectory that holds it, and the gradients add up
    to what the mean of the advantages would give (``tree-hard``), as long as the loss is a sum over tokens: where
    every sequence is divided by its own length they differ.

    Source: ARPO (arXiv 2507.19849), the paper's "soft" estimate, which its published code has. Confidence high.
    """
    return grpo(table, state, std=std, singleton=singleton, eps=eps, zero_tol=zero_tol)
