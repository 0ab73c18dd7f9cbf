"""OTC: a success is worth less the further its tool calls are from the fewest that ever solved the task."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import Floats, TurnTable


@transform("otc", needs=["tool_calls"])
def otc(
    table: TurnTable, state: Any, *, alpha: float = 1.0, c: Annotated[float, Field(gt=0)] = 1.0
) -> tuple[TurnTable, Any]:
    """``R' = alpha k R`` with ``k = sin(pi m / (m + n))``; ``m``: tool calls of the trajectory.

    ``n``: the fewest calls of a successful trajectory of this task, in this batch or before (``state``: task -> n).
    So ``k`` is 1 at ``m = n``. Where ``n`` is 0 or not known yet, ``k`` is that of :func:`cosine`. The rewards of the
    turns are scaled with their outcome; an outcome of 0 or less stays, since a factor would make it better. The paper
    scales the answer's score and adds a format reward outside. No published value of ``c`` was seen.

    Source: OTC (arXiv 2504.14870), OTC-GRPO.
    """
    calls = table.total(table.tool_calls)
    fewest: dict[str, int] = dict(state or {})
    for task, m in zip(table.task[table.success], calls[table.success], strict=True):
        name = table.task_names[task]
        fewest[name] = min(int(m), fewest.get(name, int(m)))
    n = np.array([fewest.get(table.task_names[task], -1) for task in table.task], np.float64)
    return scaled(table, alpha * coefficient(calls, n, c)), fewest


def coefficient(m: Floats, n: Floats, c: float) -> Floats:
    """[M] ``k`` for ``m`` calls where ``n`` are enough; ``n`` below 0: not known."""
    f = 2 * n * m / np.where(n > 0, m + n, 1.0)
    return np.where(n > 0, np.sin(f * np.pi / np.where(n > 0, 2 * n, 1.0)), cosine(m, c))


def cosine(m: Floats, c: float) -> Floats:
    """[M] ``k = cos(pi m / (2 m + c))``: 1 without calls, towards 0 with many."""
    k: Floats = np.cos(np.pi * m / (2 * m + c))
    return k


def scaled(table: TurnTable, factor: Floats) -> TurnTable:
    """The table with positive outcomes, and the rewards that make them up, times ``factor`` [M]."""
    factor = np.where(table.outcome > 0, factor, 1.0)
    return replace(table, outcome=table.outcome * factor, reward=table.reward * factor[table.trajectory])
