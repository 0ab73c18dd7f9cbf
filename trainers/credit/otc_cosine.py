"""OTC without groups: a success is worth less with every tool call."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from agentrl.trainers.credit.otc import cosine, scaled
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("otc-cosine", needs=["tool_calls"])
def otc_cosine(
    table: TurnTable, state: Any, *, alpha: float = 1.0, c: Annotated[float, Field(gt=0)] = 1.0
) -> tuple[TurnTable, Any]:
    """``R' = alpha cos(pi m / (2 m + c)) R``; ``m``: tool calls of the trajectory, ``c``: how slowly it falls.

    Rewards of turns are scaled with their outcome; an outcome of 0 or less stays. With ``c = 1`` one call halves a
    success. No published value of ``c`` was seen.

    Source: OTC (arXiv 2504.14870), OTC-PPO.
    """
    return scaled(table, alpha * cosine(table.total(table.tool_calls), c)), state
