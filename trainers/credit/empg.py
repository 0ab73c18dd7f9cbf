"""EMPG: more of the advantage where the policy was sure of what it did, and a bonus for turns that lead to such."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from agentrl.trainers.credit.registry import modulator
from agentrl.trainers.credit.table import Floats, TurnTable


@modulator("empg", needs=["entropy"])
def empg(
    table: TurnTable,
    advantages: Floats,
    state: Any,
    *,
    k: float = 1.0,
    k_future: float = 1.0,
    zeta: float = 0.1,
    centre: Literal["turn", "token", "none"] = "turn",
) -> tuple[Floats, Any]:
    """``A'_t = A_t g_t + zeta f_{t+1}`` -> [N], then less its mean over the batch.

    ``H_t`` is the mean entropy of the turn's tokens, brought to [0, 1] over the turns of the batch; ``g_t =
    exp(-k H_t) / mean exp(-k H)``, whose mean is 1, ``f_t = exp(-k_future H_t)``; a last turn gets no bonus.
    ``centre``: whether the mean counts turns, counts sampled tokens, or is left in. Entropies are those of the
    policy that sampled. Defaults are those of the authors' pseudocode; the paper tunes them per task.

    Source: EMPG (arXiv 2509.09265).
    """
    if not len(table):
        return advantages, state
    low, high = table.entropy.min(), table.entropy.max()
    entropy = (table.entropy - low) / (high - low + 1e-8)
    sure = np.exp(-k * entropy)
    future = np.zeros(len(table))
    more = np.flatnonzero(table.turn[1:] > 0)  # rows whose next row is their trajectory's next turn
    future[more] = np.exp(-k_future * entropy[more + 1])
    changed = advantages * sure / (sure.mean() + 1e-8) + zeta * future
    if centre == "token" and table.tokens.any():
        changed = changed - (table.tokens @ changed) / table.tokens.sum()
    elif centre != "none":
        changed = changed - changed.mean()
    return changed, state
