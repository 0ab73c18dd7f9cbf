"""What transforms that take something off share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agentrl.trainers.credit.table import Floats, TurnTable


def charged(table: TurnTable, price: Floats) -> TurnTable:
    """The table with ``price`` [N] taken off each turn's reward, and so off the outcomes."""
    total = np.bincount(table.trajectory, price, len(table.ids))
    return replace(table, reward=table.reward - price, outcome=table.outcome - total)


def tokens_of(table: TurnTable) -> Floats:
    """[M] sampled tokens of each trajectory."""
    return np.bincount(table.trajectory, table.tokens, len(table.ids)).astype(np.float64)
