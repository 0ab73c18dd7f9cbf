"""ARPO's hard attribution: a turn that several trajectories share earns the mean of what they earned."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.grpo import grpo
from agentrl.trainers.credit.normalise import Singleton
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable
from agentrl.trainers.credit.trees import owners


@estimator("tree-hard", needs=["outcome", "parent"])
def tree_hard(
    table: TurnTable,
    state: Any,
    *,
    std: bool = True,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A(turn) = mean of A_i over the trajectories i that hold the turn`` -> [N].

    ``A_i`` is :func:`grpo` over the whole trajectories of the group, each once however much it shares; its options
    are grpo's. A turn after the last branch point keeps its trajectory's own. Where nothing was branched this is
    grpo. The published training code is plain grpo over the branched trajectories instead: where shared turns are
    trained once for each trajectory that holds them, the gradients add up to the same mean.

    Source: ARPO (arXiv 2507.19849), the paper's "hard" estimate.
    """
    own, _ = grpo(table, None, std=std, singleton=singleton, eps=eps, zero_tol=zero_tol)
    owner = owners(table)
    mean = np.bincount(owner, own, len(table)) / np.maximum(np.bincount(owner, minlength=len(table)), 1)
    return mean[owner], state
