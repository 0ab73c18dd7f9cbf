"""Intervals for success rates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval (1927) of a proportion, 95% by default; (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    p, n = successes / trials, trials
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if not successes else max(0.0, middle - half)), (1.0 if successes == n else min(1.0, middle + half))


def clustered(outcomes: Mapping[str, Sequence[float]], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95% bootstrap interval of the mean over tasks' means: tasks are drawn, since attempts at one task agree."""
    means = np.array([float(np.mean(values)) for values in outcomes.values()])
    if len(means) < 2:
        return 0.0, 1.0
    rng = np.random.default_rng(seed)
    samples = means[rng.integers(0, len(means), (draws, len(means)))].mean(1)
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)
