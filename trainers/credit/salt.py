"""SALT: what several trajectories did alike earns the mean of what they earned; only where they part, they differ."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.grpo import grpo
from agentrl.trainers.credit.normalise import Singleton, joint
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.rloo import rloo
from agentrl.trainers.credit.table import Bools, Floats, Ints, TurnTable

Counting = Literal["occurrence", "trajectory"]


@estimator("salt", needs=["outcome", "anchor", "action"])
def salt(
    table: TurnTable,
    state: Any,
    *,
    base: Literal["grpo", "dr-grpo", "rloo"] = "grpo",
    statistics: Literal["rows", "trajectories"] = "trajectories",
    history: Annotated[int, Field(ge=0)] = 0,
    counting: Counting = "occurrence",
    singleton: Singleton = "zero",
) -> tuple[Floats, Any]:
    """``A(e) = mean of A_i over the turns that made the step e = (state, action, next state)`` -> [N].

    ``A_i`` is the trajectory's advantage by ``base``. Steps are merged inside a group only, and only where the
    ``history`` steps before them are equal too (near the start: all of them, and equally many). A step made twice by
    one trajectory counts twice, or once with ``counting="trajectory"``. A turn that was no valid action, or whose
    next state is not known because the episode was cut there, keeps ``A_i`` and does not count for others. Nothing
    is normalised again afterwards.

    ``statistics`` are :func:`grpo`'s (base ``rloo`` has none). Where failures take more turns than successes, means
    over ``trajectories`` leave steps that all make at 0 and the rest below it; means over ``rows`` do not.

    Which history and counting the paper has was not seen: a re-implementation's tests have ``history=3`` and
    ``counting="occurrence"``.

    Source: SALT (arXiv 2510.20022), as summarised in GRAFT's appendix.
    """
    if base == "rloo":
        advantages, _ = rloo(table, None, singleton=singleton)
    else:
        advantages, _ = grpo(table, None, std=base == "grpo", statistics=statistics, singleton=singleton)
    step, known = steps(table, history)
    return merged(advantages, step, known & table.valid, table.trajectory, counting), state


def steps(table: TurnTable, history: int) -> tuple[Ints, Bools]:
    """[N] equal numbers for equal steps with equal histories, and whether a turn's next state is known."""
    edge = joint(table.turn_group, table.anchor, table.action, table.next_anchor)
    key = edge
    for back in range(1, history + 1):
        earlier = np.full(len(table), -1, np.int64)
        later = np.flatnonzero(table.turn >= back)
        earlier[later] = edge[later - back]
        key = joint(key, earlier)
    return key, table.next_anchor >= 0


def merged(advantages: Floats, step: Ints, votes: Bools, trajectory: Ints, counting: Counting) -> Floats:
    """[N] the mean over the turns with the same step; those that do not vote keep what they have."""
    out = advantages.copy()
    voters = np.flatnonzero(votes)
    if not len(voters):
        return out
    counted = voters
    if counting == "trajectory":
        _, first = np.unique(joint(step[voters], trajectory[voters]), return_index=True)
        counted = voters[first]
    size = int(step.max()) + 1
    total = np.bincount(step[counted], advantages[counted], size)
    out[voters] = (total / np.maximum(np.bincount(step[counted], minlength=size), 1))[step[voters]]
    return out
