"""What transforms that take something off, or add something, share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agentrl.trainers.credit.table import Floats, TurnTable


def charged(table: TurnTable, price: Floats) -> TurnTable:
    """The table with ``price`` [N] taken off each turn's reward, and so off the outcomes."""
    return replace(table, reward=table.reward - price, outcome=table.outcome - table.total(price))


def on_last_turns(table: TurnTable, amount: Floats) -> Floats:
    """[N] ``amount`` [M] of each trajectory at its last turn, 0 elsewhere."""
    column = np.zeros(len(table))
    column[table.start + table.length - 1] = amount
    return column
