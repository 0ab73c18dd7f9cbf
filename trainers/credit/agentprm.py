"""AgentPRM: each turn earns what a model of action values says of it, in place of the environment's rewards."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.columns import intern
from agentrl.trainers.credit.prices import charged
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import Floats, TurnTable


@transform("agentprm", needs=["score:action_value"])
def agentprm(table: TurnTable, state: Any) -> tuple[TurnTable, Any]:
    """``r'_t = Q(h_t, a_t)``, in [0, 1]: the score ``action_value``, which the recipe's ``agentprm`` model gives.

    A Q is a value and no increment, so returns of these mean nothing: use ``step-grpo``, which compares each turn's
    reward with those of the same turn of the group's other trajectories.

    Source: AgentPRM (Choudhury, arXiv 2502.10325), its targets from the released code; that its policy step (online
    preference pairs) is ``step-grpo`` here is ours. Confidence medium.
    """
    return charged(table, table.reward - table.scores["action_value"]), state


def targets(table: TurnTable, gamma: float = 1.0) -> Floats:
    """What the model should say of each turn -> [N]: ``(Q + 1) / 2``, ``Q`` the mean of ``gamma^t (2 win - 1)``.

    The mean is over the trajectories of the group that had made and seen the same up to and with this turn. Discounted
    from the start of the episode, as the released code has it.
    """
    seen: dict[Any, int] = {}
    key, rows = -1, []
    for i in range(len(table)):
        before = -1 if table.turn[i] == 0 else key
        [key] = intern([(int(table.turn_group[i]), before, int(table.observation[i]), int(table.action[i]))], seen)
        rows.append(key)
    keys = np.array(rows, np.int64)
    worth = gamma**table.turn * np.where(table.success, 1.0, -1.0)[table.trajectory]
    mean = np.bincount(keys, worth) / np.maximum(np.bincount(keys), 1) if len(keys) else np.zeros(0)
    result: Floats = 0.5 * (mean[keys] + 1)
    return result
