"""Trees of trajectories: which turns are the same turn, played once and shared by every branch after it."""

from __future__ import annotations

import numpy as np

from agentrl.trainers.credit.table import Ints, TurnTable


def owners(table: TurnTable) -> Ints:
    """[N] the row where each turn was played: its own, or that of the ancestor it was copied from.

    A branch holds its parent's first ``branch_turn`` turns as its own first turns. Goes up one parent a round, so it
    costs N operations for each level of branching.
    """
    above, shared = table.parent[table.trajectory], table.branch_turn[table.trajectory]
    copied = (above >= 0) & (table.turn < shared)
    up = np.where(copied, table.start[above] + table.turn, np.arange(len(table)))
    found = up
    while (found != up[found]).any():
        found = up[found]
    return found
