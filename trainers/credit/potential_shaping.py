"""Potential shaping: a turn is paid for coming nearer, in a way that does not change what is best."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("potential-shaping", needs=["score:potential"])
def potential_shaping(
    table: TurnTable, state: Any, *, weight: float = 1.0, gamma: Annotated[float, Field(ge=0, le=1)] = 0.95
) -> tuple[TurnTable, Any]:
    """``r'_t = r_t + weight (gamma Phi(s_{t+1}) - Phi(s_t))``; ``Phi``: the score ``potential``, 0 after a last turn.

    ``Phi(s_t)`` is that of the state turn t began in, from the environment's ``potential()``. With the ``gamma`` of
    the estimator the return of a turn changes by ``-weight Phi(s_t)``, the same for all turns of an anchor group, so
    that what is best there stays best; one-step estimates gain. Outcomes stay as they are, since shaping is no part
    of what an episode was worth: use it with methods that look at rewards of turns. ``Phi`` counts as 0 after a cut
    too.

    Source: Ng, Harada and Russell 1999 (policy invariance under reward transformations). Confidence high.
    """
    potential = table.scores["potential"] if len(table) else np.zeros(0)
    after = np.append(potential[1:], 0.0)[: len(table)]
    after[table.start + table.length - 1] = 0.0
    return replace(table, reward=table.reward + weight * (gamma * after - potential)), state
