"""What credit assignment gave in each iteration, on disk: a Parquet file an iteration, a row a turn.

Columns: ``trajectory``, ``turn``; ``advantage``; ``parts``: the weighted share of each estimator by name; ``reward``,
``penalty`` and ``outcome`` (the trajectory's) after the transforms. All numbers are float64, as they were given.
Trajectories that were left out have no rows.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from agentrl import store
from agentrl.errors import UserError
from agentrl.trainers.credit.assign import Credit
from agentrl.trainers.credit.table import TurnTable

_COLUMNS = ["trajectory", "turn", "advantage", "parts", "reward", "penalty", "outcome"]


def write(folder: Path, name: str, credit: Credit) -> Path:
    """Write ``folder/name.parquet``, whole or not at all, and return its path."""
    table = credit.table
    named = {label: share.tolist() for label, share in credit.parts.items()}
    columns = {
        "trajectory": pa.array([table.ids[k] for k in table.trajectory], pa.string()),
        "turn": pa.array(table.turn),
        "advantage": pa.array(credit.advantages),
        "parts": pa.array(
            [[(label, share[i]) for label, share in named.items()] for i in range(len(table))],
            pa.map_(pa.string(), pa.float64()),
        ),
        "reward": pa.array(table.reward),
        "penalty": pa.array(table.penalty),
        "outcome": pa.array(table.outcome[table.trajectory]),
    }
    return store.write_table(folder / f"{name}.parquet", pa.table(columns))


def read(path: Path, table: TurnTable) -> Credit:
    """The credit that :func:`write` stored of ``table``'s turns, without diagnostics and state.

    Raises UserError, with the path, for a file that is missing, damaged, or of other turns.
    """
    found = store.read_table(path)
    if found.column_names != _COLUMNS:
        raise UserError(f"{path} holds no credit")
    owners = found["trajectory"].to_pylist()
    if owners != [table.ids[k] for k in table.trajectory] or found["turn"].to_pylist() != table.turn.tolist():
        raise UserError(f"{path} does not belong to the trajectories beside it: it names other turns")
    shares = [dict(row) for row in found["parts"].to_pylist()]
    parts = {label: np.array([row[label] for row in shares]) for label in shares[0]} if shares else {}
    reward, penalty, outcome = (found[name].to_numpy() for name in ("reward", "penalty", "outcome"))
    table = replace(table, reward=reward, penalty=penalty, outcome=outcome[table.start])
    return Credit(table, found["advantage"].to_numpy(), parts, {}, {})
