"""Estimators side by side on the same trajectories: how alike they are, and how much each of them says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.trainers.credit.batches import Batch, credited
from agentrl.trainers.credit.choose import Chosen
from agentrl.trainers.credit.registry import bind
from agentrl.trainers.credit.table import Floats

ZERO = 1e-9  # what rounding leaves of an advantage of 0
Pairs = list[list[float | None]]


@dataclass(frozen=True)
class Comparison:
    """All figures are over the turns of all batches; None where one is not defined.

    ``variance`` (population) and ``zero_share`` (turns whose advantage is 0) of each estimator;
    ``correlation`` (Pearson; None where an estimator gives every turn the same) and ``sign_agreement`` (turns where
    both are positive, both negative or both 0) of each with each. ``anchor_singleton_share``: turns that no other of
    their group shares the state with, which a method that compares states gives 0; None for an estimator that does
    not look at states, and where there are none.
    """

    estimators: list[str]
    turns: int
    variance: list[float]
    zero_share: list[float]
    anchor_singleton_share: list[float | None]
    correlation: Pairs
    sign_agreement: Pairs

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))


def compare(batches: Sequence[Batch], chosen: Chosen) -> Comparison:
    """Each estimator of ``chosen`` alone, with all its transforms and modulators, on the same batches."""
    each = chosen.each
    if not each:
        raise UserError("credit compare needs at least one estimator, such as grpo")
    columns, shares = [], []
    for _, alone in each:
        given = [credit for _, credit in credited(batches, alone.rewards, alone.credit)]
        joined = np.concatenate([credit.advantages for credit in given])
        columns.append(np.where(np.abs(joined) < ZERO, 0.0, joined))
        shares.append(_singletons([(credit.diagnostics, len(credit.advantages)) for credit in given], alone))
    return Comparison(
        [name for name, _ in each],
        len(columns[0]),
        [float(a.var()) for a in columns],
        [float((a == 0).mean()) for a in columns],
        shares,
        [[_correlation(a, b) for b in columns] for a in columns],
        [[float((np.sign(a) == np.sign(b)).mean()) for b in columns] for a in columns],
    )


def _singletons(found: Sequence[tuple[dict[str, float], int]], alone: Chosen) -> float | None:
    """The share over all batches, each by its turns."""
    looks = any("anchor" in m.plugin.needs for spec in alone.credit for m in bind(spec, ["estimator", "modulator"]))
    known = [(d["anchor_singleton_share"], n) for d, n in found if "anchor_singleton_share" in d]
    if not looks or not known:
        return None
    return sum(share * n for share, n in known) / sum(n for _, n in known)


def _correlation(a: Floats, b: Floats) -> float | None:
    x, y = a - a.mean(), b - b.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    # what rounding leaves of a column that is constant must not count as a variation
    if min(np.ptp(a) - 1e-12 * np.abs(a).max(), np.ptp(b) - 1e-12 * np.abs(b).max()) <= 0 or size == 0:
        return None
    return float(np.clip(x @ y / size, -1.0, 1.0))
