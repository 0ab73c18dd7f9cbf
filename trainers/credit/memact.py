"""MemAct: trajectories whose context is edited fall into segments, and each group trains the same number of them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.seeds import derive
from agentrl.trainers.credit.normalise import Singleton, group_centred
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.table import Floats, Ints, TurnTable


@estimator("memact", needs=["outcome"])
def memact(
    table: TurnTable,
    state: Any,
    *,
    rows: Annotated[int, Field(ge=1)] | None = 12,
    seed: int = 0,
    singleton: Singleton = "zero",
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = (R - mean_G) / (std_G + eps) c S / rows`` -> [N], ``c``: how often the turn's segment was drawn.

    A segment is the turns of a trajectory whose tokens continue each other; where a context rule edits the history a
    new one begins. Mean and deviation are over trajectories, not segments. Of the S segments of a group ``rows`` are
    drawn: one of each trajectory at random, then round and round the trajectories, each one's segments in a random
    order and again from the first; where there are more trajectories than ``rows``, of that many at random. A segment
    that was not drawn gets 0, one that was drawn twice gets double, which is what training it twice would do; ``S /
    rows`` keeps the mean of c at 1. ``rows=none`` trains every segment once, which is GRPO. Draws come from ``seed``
    and the number of batches before (``state``). A row's own ``penalty`` is taken off its trajectory's score.

    The published code draws 12 rows of 8 rollouts and keeps a lone rollout's score (``singleton="raw"``).

    Source: DCPO of MemAct, its released code. Confidence high in the formula; the order of the draws is ours.
    """
    number = int(state or 0)
    score = table.outcome[table.trajectory] - table.penalty
    sample = table.turn == 0
    options: dict[str, Any] = {"std": True, "eps": eps, "zero_tol": zero_tol, "singleton": singleton}
    advantages = group_centred(score, table.turn_group, sample=sample, **options)
    if rows is not None:
        advantages = advantages * shares(table, rows, derive(seed, "memact", number))
    return advantages, number + 1


def shares(table: TurnTable, rows: int, seed: int) -> Floats:
    """[N] ``c S / rows`` of each turn's segment."""
    count = np.bincount(table.trajectory, table.starts_segment, len(table.ids)).astype(np.int64)  # segments of each
    first = np.cumsum(count) - count
    segment = np.cumsum(table.starts_segment) - 1  # [N] number of the turn's segment in the table
    drawn = np.zeros(count.sum())
    scale = np.zeros(len(table.ids))
    for group in np.unique(table.group):
        members = np.flatnonzero(table.group == group)
        chosen = draw(count[members], rows, np.random.default_rng([seed % 2**32, int(group)]))
        np.add.at(drawn, first[members[chosen[:, 0]]] + chosen[:, 1], 1)
        scale[members] = count[members].sum() / rows
    found: Floats = drawn[segment] * scale[table.trajectory]
    return found


def draw(count: Ints, rows: int, rng: np.random.Generator) -> Ints:
    """[rows, 2] pairs (trajectory, segment) out of trajectories with ``count`` [n] segments."""
    turn = rng.permutation(len(count))  # whose turn it is
    orders = [rng.permutation(n) for n in count]
    at = np.arange(rows)
    owner = turn[at % len(count)]
    return np.array([(k, orders[k][(i // len(count)) % count[k]]) for i, k in zip(at, owner, strict=True)])
