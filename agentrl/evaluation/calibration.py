"""Whether what a policy says of its own chances comes true."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agentrl.agents.confidence import stated_confidence
from agentrl.types import Trajectory

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Of the episodes whose last turn states a confidence in [0, 1].

    ``brier``: mean of (confidence - success)^2; ``ece``: mean over episodes of |mean confidence - success rate| of
    their tenth of the scale (Naeini et al. 2015); ``stated``: how many episodes state one.
    """

    brier: float
    ece: float
    confidence: float
    stated: int

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> Calibration | None:
        """None where no episode states a confidence."""
        said = [(stated_confidence(t.turns[-1]), t.success) for t in trajectories if t.turns]
        pairs = [(q, success) for q, success in said if q is not None]
        if not pairs:
            return None
        q, won = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs], np.float64)
        place = np.minimum((q * BINS).astype(int), BINS - 1)
        gaps = [abs(float((q - won)[place == b].sum())) for b in range(BINS)]
        return cls(float(((q - won) ** 2).mean()), sum(gaps) / len(q), float(q.mean()), len(q))
