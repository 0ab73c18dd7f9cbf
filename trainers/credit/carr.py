"""CaRR: a right answer is worth more, the more of its rubric it is shown to rest on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.prices import charged, on_last_turns
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable


@transform("carr", needs=["rewards"])
def carr(
    table: TurnTable,
    state: Any,
    *,
    rubric: str = "rubric",
    weight: Annotated[float, Field(ge=0, le=1)] = 0.3,
    form: Literal["paper", "code"] = "paper",
) -> tuple[TurnTable, Any]:
    """``R' = (1 - w) R_o + w R_o R_rub / max_G R_rub`` where ``R_o > 0``, on the last turn.

    ``R_rub``: the reward named ``rubric``, the share in [0, 1] of the rubric that counts (see :func:`reached`);
    ``R_o``: the outcome without it, which stays where it is 0 or less. Where nobody of the group has any of the
    rubric the second term is 0. ``form="code"``: ``(1 - w) R_o + w R_rub``, as the released script has it, where
    the group does not matter.

    Source: CaRR (THUDM), C-GRPO: its released code, read in summary. Confidence medium.
    """
    share = table.rewards.get(rubric, np.zeros(len(table.ids)))
    own = table.outcome - share
    best = np.zeros(table.group.max(initial=-1) + 1)
    np.maximum.at(best, table.group, share)
    most = best[table.group]
    part = share if form == "code" else own * np.where(most > 0, share / np.where(most > 0, most, 1.0), 0.0)
    worth = np.where(own > 0, (1 - weight) * own + weight * part, own)
    return charged(table, on_last_turns(table, table.outcome - worth)), state


def reached(entities: Sequence[Collection[str]], supported: Sequence[bool], answer: str) -> float:
    """The share of a rubric's criteria that count: supported ones on a chain from the answer.

    Criterion j speaks of ``entities[j]`` and is ``supported`` by what was read, as a judge found. From the ``answer``
    one goes to the supported criteria that speak of it, from these to their other entities, and on. An empty rubric
    gives 0.
    """
    known, counted = {answer}, set[int]()
    while True:
        more = {
            j
            for j, (names, holds) in enumerate(zip(entities, supported, strict=True))
            if holds and j not in counted and known & set(names)
        }
        if not more:
            return len(counted) / len(entities) if entities else 0.0
        counted |= more
        known.update(*(entities[j] for j in more))
