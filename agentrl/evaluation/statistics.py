"""Intervals, and what is estimated of several attempts at a task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Z = 1.959964  # 95%, two-sided


def wilson(successes: int, trials: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval (1927) of a proportion, 95% by default; (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    p, n = successes / trials, trials
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if not successes else max(0.0, middle - half)), (1.0 if successes == n else min(1.0, middle + half))


def clustered(outcomes: Mapping[str, Sequence[float]], draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95% bootstrap interval of the mean over tasks' means: tasks are drawn, since attempts at one task agree.

    (0, 1) for fewer than two tasks.
    """
    means = np.array([float(np.mean(values)) for values in outcomes.values()])
    if len(means) < 2:
        return 0.0, 1.0
    return bootstrap(means, draws, seed)


def bootstrap(values: npt.ArrayLike, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95% percentile interval of the mean of ``values`` [n], n >= 2 (Efron 1979)."""
    array = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    samples = array[rng.integers(0, len(array), (draws, len(array)))].mean(1)
    low, high = np.quantile(samples, [0.025, 0.975])
    return float(low), float(high)


def pass_at(k: int, successes: int, attempts: int) -> float:
    """The chance that at least one of ``k`` attempts succeeds, without bias: ``1 - C(n-c, k) / C(n, k)``, n >= k.

    Source: Chen et al. (arXiv 2107.03374), equation 1.
    """
    return 1.0 - math.comb(attempts - successes, k) / math.comb(attempts, k)


def pass_hat(k: int, successes: int, attempts: int) -> float:
    """The chance that all of ``k`` attempts succeed, without bias: ``C(c, k) / C(n, k)``, n >= k.

    Source: tau-bench (arXiv 2406.12045), section 4.
    """
    return math.comb(successes, k) / math.comb(attempts, k)


def sign_flip(differences: npt.NDArray[np.float64], draws: int = 20000, seed: int = 0) -> float:
    """Two-sided p-value of the mean of paired ``differences`` [n] being 0: each sign is as likely as the other.

    Where all differ by the same size this is McNemar's exact test; else signs are drawn, and the p-value is at least
    ``1 / (draws + 1)``.

    Source: Fisher (1935), the randomisation test for pairs.
    """
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    if np.ptp(np.abs(moved)) == 0:
        n, fewer = len(moved), int(min((moved > 0).sum(), (moved < 0).sum()))
        tail = sum(math.comb(n, i) for i in range(fewer + 1))
        return min(1.0, float(2 * tail / 2**n))
    rng = np.random.default_rng(seed)
    observed, extreme = abs(float(moved.sum())) * (1 - 1e-12), 0
    for start in range(0, draws, 1000):
        signs = rng.choice([-1.0, 1.0], (min(1000, draws - start), len(moved)))
        extreme += int((np.abs(signs @ moved) >= observed).sum())
    return (extreme + 1) / (draws + 1)


def tasks_needed(differences: npt.NDArray[np.float64], power_z: float = 0.841621) -> int | None:
    """Tasks after which a paired test at 5% would find a difference as large as this one 4 times in 5.

    ``(z_0.975 + z_0.8)^2 var / mean^2``, from the normal approximation; None where there is no difference at all.
    """
    mean = float(differences.mean()) if len(differences) else 0.0
    if mean == 0 or len(differences) < 2:
        return None
    needed = (Z + power_z) ** 2 * float(differences.var(ddof=1)) / mean**2
    return max(2, math.ceil(needed))
