"""What the trainer's last pass over each sampled token said, on disk: a Parquet file an iteration, a row a turn.

Columns: ``trajectory``, ``turn``, ``logprobs`` [tokens of its completion] float32, nan where the trainer did not look.
Beside what the sampler recorded they tell how far each token's probability had moved when it was last learnt from. With
one minibatch that is before the first step, so only what sampler and trainer compute differently is to be seen; where
several processes learn together each tells of its own share, and what the first looked at is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from agentrl import store
from agentrl.trainers.credit.table import TurnTable

if TYPE_CHECKING:
    from agentrl.trainers.batching import Sample  # imports torch, which a reader need not have

SCHEMA = pa.schema({"trajectory": pa.string(), "turn": pa.int64(), "logprobs": pa.list_(pa.float32())})


def write(folder: Path, name: str, samples: Sequence[Sample], table: TurnTable) -> None:
    """Write ``folder/name.parquet``, whole or not at all. ``samples`` are numbered by the table's turns."""
    rows: dict[int, Any] = {}
    for sample in samples:
        if sample.passed is None or sample.demonstrated:
            continue
        for turn in np.unique(sample.turn[sample.turn >= 0]).tolist():
            rows[turn] = sample.passed[sample.turn == turn]
    found = sorted(rows)
    columns = {
        "trajectory": [table.ids[table.trajectory[row]] for row in found],
        "turn": [int(table.turn[row]) for row in found],
        "logprobs": [rows[row] for row in found],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    store.write_table(folder / f"{name}.parquet", pa.Table.from_arrays(arrays, schema=SCHEMA))


def read(path: Path, trajectories: set[str]) -> dict[tuple[str, int], Any]:
    """Logprobs by trajectory and turn; empty where nothing was stored."""
    if not path.is_file():
        return {}
    rows = store.read_table(path).to_pylist()
    return {(row["trajectory"], row["turn"]): row["logprobs"] for row in rows if row["trajectory"] in trajectories}
