"""DCPO's smooth advantage: a group's outcomes against the group, and against all that its task has ever paid."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, TurnTable


@estimator("dcpo-sas", needs=["outcome"])
def dcpo_sas(
    table: TurnTable, state: Any, *, ddof: int = 1, eps: float = 1e-6, zero_tol: float = 1e-9
) -> tuple[Floats, Any]:
    """The smaller in size of ``A_tot / i + (1 - 1/i) A_new`` and ``A_new / i + (1 - 1/i) A_tot`` -> [N].

    ``A_new = (R - mean) / (std + eps)`` over the task's trajectories of this batch, ``A_tot`` the same over all it
    ever had, these included; ``i``: the batches that held the task, this one included. So the first time it is GRPO,
    and later a group of equal outcomes still learns from how they compare with before. A deviation below ``zero_tol``
    makes its term 0. ``state``: task -> (batches, count, mean, sum of squared deviations). A row's own ``penalty`` is
    taken off last.

    Source: DCPO (lime-RL), its released code. Confidence medium: its ``ddof`` was not seen.
    """
    past: dict[str, list[float]] = {task: list(sums) for task, sums in (state or {}).items()}
    result = np.zeros(len(table.ids))
    order = np.argsort(table.task, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(table.task[order])) + 1) if len(order) else ():
        name = table.task_names[table.task[members[0]]]
        outcome = table.outcome[members]
        new = _merge([0, 0, 0.0, 0.0], outcome)
        total = past[name] = _merge(past.get(name, [0, 0, 0.0, 0.0]), outcome)
        a_new, a_total = (_against(outcome, sums, ddof, eps, zero_tol) for sums in (new, total))
        share = 1 / total[0]
        one = share * a_total + (1 - share) * a_new
        other = share * a_new + (1 - share) * a_total
        result[members] = np.where(np.abs(one) <= np.abs(other), one, other)
    return result[table.trajectory] - table.penalty, past


def _merge(sums: list[float], values: Floats) -> list[float]:
    """``sums`` with another batch of values (Chan and others 1979)."""
    batches, count, mean, square = sums
    n, centre = len(values), float(values.mean())
    gap, total = centre - mean, count + n
    more = float(((values - centre) ** 2).sum()) + gap**2 * count * n / total
    return [batches + 1, total, mean + gap * n / total, square + more]


def _against(values: Floats, sums: list[float], ddof: int, eps: float, zero_tol: float) -> Floats:
    _, count, mean, square = sums
    deviation = np.sqrt(square / max(count - ddof, 1))
    if deviation < zero_tol:
        return np.zeros(len(values))
    result: Floats = (values - mean) / (deviation + eps)
    return result
