"""GDPO: each named reward on a scale of its own before they are added up."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from agentrl.trainers.credit.normalise import Singleton, group_centred, whitened
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("gdpo", needs=["rewards"])
def gdpo(
    table: TurnTable,
    state: Any,
    *,
    weights: dict[str, float] | None = None,
    per: Literal["trajectory", "token"] = "trajectory",
    singleton: Singleton = "zero",
    ddof: int = 1,
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = whiten(sum_n w_n (R_n - mean_G) / (std_G + eps))`` -> [N], over the rewards' names n.

    ``R_n`` is a trajectory's total of the reward named n, as the environment gave it: transforms do not change it.
    ``weights``: 1 for each name, unless given; a name left out then counts 0, and so does one that
    nobody earned (the diagnostics tell). A reward that is the same for a whole group gives 0 for that name only.
    Whitened over the batch, where a trajectory counts once or as often as it has sampled tokens (``per="token"``, as
    in the published code, with ``singleton="raw"``). A row's own ``penalty`` is taken off last.

    Source: GDPO (NVlabs), its released code.
    """
    chosen = {name: 1.0 for name in table.rewards} if weights is None else weights
    total = np.zeros(len(table.ids))
    for name, weight in chosen.items():
        total += weight * group_centred(
            table.rewards.get(name, np.zeros(len(table.ids))),
            table.group,
            std=True,
            ddof=ddof,
            eps=eps,
            zero_tol=zero_tol,
            singleton=singleton,
        )
    count = table.total(table.tokens) if per == "token" else np.ones(len(table.ids))
    return whitened(total, count)[table.trajectory] - table.penalty, state
