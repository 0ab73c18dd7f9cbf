"""RiskPO: answers to several tasks are judged as a bundle, and mostly by how badly the worse bundles did."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, Ints, TurnTable

_Level = Annotated[float, Field(gt=0, lt=1)]


@estimator("riskpo", needs=["outcome"])
def riskpo(
    table: TurnTable,
    state: Any,
    *,
    bundle: Annotated[int, Field(ge=1)] = 5,
    low: _Level = 0.2,
    high: _Level = 0.8,
    weight_low: Annotated[float, Field(ge=0)] = 1.5,
    rate: Annotated[float, Field(ge=0)] = 0.1,
    eps: float = 1e-6,
    zero_tol: float = 1e-3,
) -> tuple[Floats, Any]:
    """``A = (w CVaR + RVaR) / (w + 1) / std_bundle / std_task`` -> [N], of the bundle that a trajectory is part of.

    A bundle is ``bundle`` tasks; its sheet j holds the j-th trajectory of each, and ``S_j`` is their total outcome.
    With ``a < b`` the levels and ``q_a <= q_b`` the tracked quantiles of S: ``CVaR = -(q_a - S)+ / a`` and ``RVaR =
    ((S - q_a)+ - (S - q_b)+ + q_a - q_b) / (b - a)``, so sheets above ``q_b`` are all alike. ``w``: ``weight_low``;
    a deviation below ``zero_tol`` divides by 1. A row's own ``penalty`` is taken off last.

    ``state``: the quantiles, at first those of the batch; each batch then moves them by ``rate`` times the mean
    (sub)gradient of the pinball loss, ``q += rate (level - share of S below q)``, after they were used. Where the last
    bundle has fewer tasks its S counts for as many as a whole one; a trajectory that its bundle's smallest group has
    no partner for is left at 0.

    Source: RiskPO (RTkenny/RiskPO), its released code as summarised. Confidence medium: whether the tracker steps by
    batch or by sheet, and where it begins, was not seen.
    """
    sheets = _sheets(table, bundle)
    if not len(sheets.total):
        return -table.penalty, state
    begin = np.quantile(sheets.total, [low, high])
    q_low, q_high = state or begin.tolist()
    capped = np.clip(sheets.total, q_low, q_high) - q_high
    risk = (weight_low * -np.maximum(q_low - sheets.total, 0) / low + capped / (high - low)) / (weight_low + 1)
    risk = risk / _deviation(sheets.total, sheets.bundle, eps, zero_tol)[sheets.bundle]
    result = np.zeros(len(table.ids))
    member = sheets.of >= 0
    result[member] = risk[sheets.of[member]]
    result /= _deviation(table.outcome, table.group, eps, zero_tol)[table.group]
    moved = [q + rate * (level - float((sheets.total < q).mean())) for q, level in ((q_low, low), (q_high, high))]
    return result[table.trajectory] - table.penalty, [moved[0], max(moved)]


class _sheets:
    """``total`` [S] and ``bundle`` [S] of each sheet; ``of`` [M]: each trajectory's sheet, -1 for none."""

    def __init__(self, table: TurnTable, size: int) -> None:
        first = np.unique(table.group, return_index=True)[1]
        groups = table.group[np.sort(first)]  # in the table's order
        self.of = np.full(len(table.ids), -1, np.int64)
        totals: list[Floats] = []
        bundles: list[int] = []
        for number, at in enumerate(range(0, len(groups), size)):
            members = [np.flatnonzero(table.group == group) for group in groups[at : at + size]]
            width = min(len(rows) for rows in members)
            begin = len(bundles)
            for rows in members:
                self.of[rows[:width]] = begin + np.arange(width)
            each = np.mean([table.outcome[rows[:width]] for rows in members], axis=0)
            totals.append(size * each)
            bundles += [number] * width
        self.total = np.concatenate(totals) if totals else np.zeros(0)
        self.bundle: Ints = np.array(bundles, np.int64)


def _deviation(values: Floats, group: Ints, eps: float, zero_tol: float) -> Floats:
    """[groups] sample deviation + eps; 1 where it is below ``zero_tol``."""
    count = np.bincount(group)
    mean = np.bincount(group, values) / np.maximum(count, 1)
    found = np.sqrt(np.bincount(group, (values - mean[group]) ** 2) / np.maximum(count - 1, 1))
    result: Floats = np.where(found < zero_tol, 1.0, found + eps)
    return result
