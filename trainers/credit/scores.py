"""Scores: numbers about single turns that are no reward, under names of their own, for the methods that use them.

They stand in ``turn.info["scores"]``: what the environment's step said in ``info["scores"]``, the ``potential`` of the
state the turn began in where the environment has one, and whatever a judge or model wrote there before credit. One is
read off the text: the ``confidence`` that a last turn states.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentrl.errors import UserError
from agentrl.types import ToolCall, Trajectory, Turn

_STATED = re.compile(r"confidence\W{0,4}(\d{1,3}(?:\.\d{1,9})?)(?![\d.]\d)\s?(%?)", re.IGNORECASE)


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


def stated_confidence(turn: Turn) -> float | None:
    """The confidence in [0, 1] that a turn states: an argument ``confidence`` of its call, else ``confidence: 0.8`` or
    ``80%`` in its text, the last one counting. None where there is none, or it is no number in [0, 1].
    """
    calls = turn.action if isinstance(turn.action, list) else [turn.action]
    for call in calls:
        if isinstance(call, ToolCall) and "confidence" in call.arguments:
            return _share(call.arguments["confidence"])
    found = _STATED.findall(turn.text)
    return _share(float(found[-1][0]) / (100 if found[-1][1] else 1)) if found else None


def _share(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return None
    return float(value)
