"""Estimators against the truth: how well each turn's advantage agrees with ``Q(h, a) - V(h)``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.trainers.credit.assign import assign
from agentrl.trainers.credit.choose import Chosen
from agentrl.trainers.credit.normalise import joint
from agentrl.trainers.credit.table import Bools, Floats, Ints, TurnTable

DRAWS = 200  # of the bootstrap over groups


@dataclass(frozen=True)
class Truth:
    """``advantage`` [N] of a table's turns, and its standard error [N]: 0 where it is exact."""

    table: TurnTable
    advantage: Floats
    error: Floats

    @property
    def significant(self) -> Bools:
        """Turns whose advantage is surely not 0: more than two standard errors away."""
        return np.asarray(np.abs(self.advantage) > 2 * self.error + 1e-9)

    @property
    def ceiling(self) -> float:
        """The correlation that even the true advantages would have with these, for the noise in them.

        The square root of the reliability, 1 - mean squared error / variance (Spearman 1904).
        """
        variance = float(self.advantage.var())
        noise = float((self.error**2).mean())
        return float(np.sqrt(max(0.0, 1 - noise / variance))) if variance else 0.0


@dataclass(frozen=True)
class Measured:
    """A figure with its 95% bootstrap interval over groups."""

    value: float
    ci_low: float
    ci_high: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} [{self.ci_low:+.2f}, {self.ci_high:+.2f}]"


@dataclass(frozen=True)
class Score:
    """One estimator at one group size.

    ``sign``: the share of significant turns that get the right sign; an advantage of 0 is wrong. ``cosine``: between
    the two vectors of advantages, which is that of the two policy gradients where turns' gradients are orthogonal and
    of equal length. ``gradient``: the same where turns that took the same action in the same state of a task share a
    gradient, so that their advantages add up; ``by_episode`` where each counts 1 / (turns of its episode) as well, as
    under ``loss.aggregate: sequence``. ``variance`` of what the estimator gives; ``ms``: its CPU milliseconds for a
    thousand turns.
    """

    estimator: str
    size: int
    pearson: Measured
    spearman: Measured
    sign: Measured
    cosine: Measured
    gradient: Measured
    by_episode: Measured
    variance: float
    ms: float

    def plain(self) -> dict[str, Any]:
        return {name: vars(value) if isinstance(value, Measured) else value for name, value in vars(self).items()}


def bench(truth: Truth, chosen: Chosen, sizes: Sequence[int], seed: int = 0) -> list[Score]:
    """Each estimator of ``chosen`` alone, in groups of each size: a group of 16 makes four of 4.

    Raises UserError for a size that no group has.
    """
    whole = int(np.bincount(truth.table.group).max())
    for size in sizes:
        if not 2 <= size <= whole:
            raise UserError(f"groups of {size} cannot be made of groups of {whole}")
    found = []
    for size in sizes:
        table = split(truth.table, size)
        for name, alone in chosen.each:
            begin = time.process_time()
            given = assign(table, alone.rewards, alone.credit).advantages
            ms = 1e6 * (time.process_time() - begin) / len(table)
            found.append(_score(name, size, given, truth, ms, seed))
    return found


def split(table: TurnTable, size: int) -> TurnTable:
    """The same turns in smaller groups: every ``size`` trajectories of a group in turn, what is over with the last."""
    place = np.zeros(len(table.ids), np.int64)
    for group in np.unique(table.group):
        members = np.flatnonzero(table.group == group)
        place[members] = np.minimum(np.arange(len(members)) // size, max(0, len(members) // size - 1))
    return replace(table, group=np.asarray(table.group * (int(place.max()) + 1) + place))


def _score(name: str, size: int, given: Floats, truth: Truth, ms: float, seed: int) -> Score:
    rng = np.random.default_rng(seed)
    table, true, known = truth.table, truth.advantage, truth.significant
    clusters = [np.flatnonzero(table.turn_group == g) for g in np.unique(table.group)]
    draws = [rng.integers(0, len(clusters), len(clusters)) for _ in range(DRAWS)]
    rows_of = [np.concatenate([clusters[i] for i in draw]) for draw in draws]
    everything = np.arange(len(given))
    right = (np.sign(given) == np.sign(true)).astype(np.float64)
    first, second = ranks(given), ranks(true)  # once: a draw keeps the ranks of the whole

    def measure(of: Callable[[Ints], float]) -> Measured:
        return _measured(of(everything), [of(rows) for rows in rows_of])

    def gradient(weight: Floats) -> Measured:
        """Products of the two sums by step, added up by group; a draw repeats groups, and a step is of one group."""
        step = steps(table)
        one, other = np.bincount(step, weight * given), np.bincount(step, weight * true)
        _, at = np.unique(step, return_index=True)
        place = np.searchsorted(np.unique(table.group), table.turn_group[at])
        products = np.stack(
            [np.bincount(place, x * y, len(clusters)) for x, y in ((one, other), (one, one), (other, other))]
        )
        return _measured(_cosine(*products.sum(1)), [_cosine(*products[:, draw].sum(1)) for draw in draws])

    return Score(
        name,
        size,
        pearson=measure(lambda rows: pearson(given[rows], true[rows])),
        spearman=measure(lambda rows: pearson(first[rows], second[rows])),
        sign=measure(lambda rows: float(right[rows][known[rows]].mean()) if known[rows].any() else float("nan")),
        cosine=measure(lambda rows: cosine(given[rows], true[rows])),
        gradient=gradient(np.ones(len(given))),
        by_episode=gradient(1 / table.length[table.trajectory]),
        variance=float(given.var()),
        ms=ms,
    )


def _measured(value: float, drawn: Sequence[float]) -> Measured:
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Measured(value, float(low), float(high))


def steps(table: TurnTable) -> Ints:
    """[N] equal numbers for the same action in the same state of a group; a turn whose state is not known is alone."""
    alone = np.where((table.anchor < 0) | (table.action < 0), np.arange(len(table)), -1)
    return joint(table.turn_group, table.anchor, table.action, alone)


def pearson(a: Floats, b: Floats) -> float:
    """0 where one of them does not vary: such an estimator says nothing."""
    return cosine(a - a.mean(), b - b.mean())


def cosine(a: Floats, b: Floats) -> float:
    return _cosine(a @ b, a @ a, b @ b)


def _cosine(product: Any, first: Any, second: Any) -> float:
    size = float(np.sqrt(first * second))
    return float(product) / size if size > 1e-12 else 0.0


def ranks(values: Floats) -> Floats:
    """From 0; equal values share the mean of their places."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[inverse])
