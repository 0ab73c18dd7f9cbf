"""Files of earlier formats, read as the present one: a step from each format to the next."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from agentrl.store.schema import FORMAT, TRAJECTORY, TURN


def migrated(table: Any, found: bytes) -> Any | None:
    """The table in the present format; None where ``found`` is no format that was ever written."""
    while found != FORMAT:
        if found not in _STEPS:
            return None
        step, found = _STEPS[found]
        table = step(table)
    return table


def _named_types(table: Any) -> Any:
    """1 to 2: the kind of a task has a column of its own."""
    kinds = pa.array([kind_of(json.loads(info)) for info in table["info"].to_pylist()], pa.string())
    return table.add_column(list(TRAJECTORY).index("task_type"), "task_type", kinds)


def _with_images(table: Any) -> Any:
    """2 to 3: a turn names the images of its prompt."""
    turns = table["turns"].combine_chunks()
    turns = pa.concat_arrays(turns.chunks) if isinstance(turns, pa.ChunkedArray) else turns
    rows = turns.values
    columns = {field.name: rows.field(field.name) for field in rows.type}
    columns["images"] = pa.array([[]] * len(rows), TURN["images"])
    made = pa.StructArray.from_arrays(
        [columns[name] for name in TURN], fields=[pa.field(k, v) for k, v in TURN.items()]
    )
    lists = pa.ListArray.from_arrays(turns.offsets, made)
    return table.set_column(table.column_names.index("turns"), "turns", lists)


def kind_of(info: object) -> str:
    """The kind of task that an episode's ``info`` names, else nothing."""
    return str(info.get("task_type", "")) if isinstance(info, dict) else ""


_STEPS: Mapping[bytes, tuple[Callable[[Any], Any], bytes]] = {
    b"1": (_named_types, b"2"),
    b"2": (_with_images, b"3"),
}
