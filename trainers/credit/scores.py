"""Scores: numbers about single turns that are no reward, under names of their own, for the methods that use them.

They stand in ``turn.info["scores"]``: what the environment's step said in ``info["scores"]``, the ``potential`` of the
state the turn began in where the environment has one, and whatever a judge or model wrote there before credit. One is
read off the text: the ``confidence`` that a last turn states.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrl.agents.confidence import stated_confidence
from agentrl.errors import UserError
from agentrl.types import Trajectory


def turn_scores(trajectories: Sequence[Trajectory]) -> dict[str, npt.NDArray[np.float64]]:
    """Every name with a column [N], nan where a turn has no such score.

    Raises UserError, naming trajectory and turn, for a score that is no finite number.
    """
    rows = []
    for t in trajectories:
        for number, turn in enumerate(t.turns):
            scores = dict(turn.info.get("scores") or {})
            if number + 1 == len(t.turns) and (confidence := stated_confidence(turn)) is not None:
                scores.setdefault("confidence", confidence)
            for name, score in scores.items():
                if isinstance(score, bool) or not isinstance(score, int | float) or not np.isfinite(score):
                    raise UserError(f"score {name!r} of trajectory {t.id!r}, turn {number} is {score!r}, not a number")
            rows.append(scores)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}
