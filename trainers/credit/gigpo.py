"""GiGPO's step part: a turn's discounted return against those of the turns that began in the same state."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from agentrl.trainers.credit.normalise import group_centred, joint, returns_to_go
from agentrl.trainers.credit.registry import estimator
from agentrl.trainers.credit.similarity import Alike, clusters
from agentrl.trainers.credit.table import Floats, Ints, TurnTable

Thresh = Annotated[float, Field(gt=0, lt=1)]


@estimator("gigpo-step", needs=["anchor"], needs_if={"similarity": "observation"})
def gigpo_step(
    table: TurnTable,
    state: Any,
    *,
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.95,
    std: bool = True,
    similarity: Thresh | None = None,
    ddof: int = 1,
    eps: float = 1e-6,
    zero_tol: float = 1e-9,
) -> tuple[Floats, Any]:
    """``A = (R_t - mean_S) / (std_S + eps)`` -> [N], over the turns S of a group that share an anchor.

    ``R_t = r_t + gamma R_{t+1}``, less the turn's own ``penalty``. Every visit counts, also several by the same
    trajectory; a state seen once gives exactly 0. ``similarity`` groups by likeness of the observation texts instead
    (see :func:`similar`). The published code's default is ``std=False``; with ``std=True`` returns that differ only
    by a turn's delay are stretched to unit size.

    Source: GiGPO (arXiv 2505.10978); agrees with verl-agent.
    """
    returns = returns_to_go(table, gamma) - table.penalty
    anchors = anchor_groups(table, similarity)
    return group_centred(returns, anchors, std=std, ddof=ddof, eps=eps, zero_tol=zero_tol), state


def anchor_groups(table: TurnTable, similarity: float | None = None) -> Ints:
    """[N] the anchor group of each turn: never across groups of trajectories."""
    anchor = table.anchor if similarity is None else similar(table, similarity)
    return joint(table.turn_group, anchor)


def similar(table: TurnTable, thresh: float) -> Ints:
    """[N] clusters of like observations, numbered inside each group.

    In table order, an observation joins the first cluster, in order of creation, whose first member it resembles:
    ``SequenceMatcher(None, observation, member).ratio() >= thresh``; else it opens one. Equal texts always land
    together, so each distinct text of a group is placed once; see :mod:`agentrl.trainers.credit.similarity`.
    """
    alike = Alike(table.texts, thresh)
    groups = np.split(np.arange(len(table)), np.flatnonzero(np.diff(table.turn_group)) + 1)
    labels = [np.zeros(0, np.int64)]
    for rows in groups if len(table) else ():
        texts, first, text_of = np.unique(table.observation[rows], return_index=True, return_inverse=True)
        order = np.argsort(first)  # as they were seen
        label = np.zeros(len(texts), np.int64)
        label[order] = clusters(texts[order].tolist(), alike)
        labels.append(label[text_of])
    return np.concatenate(labels)
