"""Stored trajectories to look through: flat columns without reading the turns, groups when asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from agentrl import store
from agentrl.errors import UserError, unknown
from agentrl.store.files import files_of
from agentrl.store.migrate import kind_of
from agentrl.store.schema import TRAJECTORY
from agentrl.types import Group

if TYPE_CHECKING:
    import pandas as pd

# of turns, what is one value: the rest is token records and nested
OF_TURNS = ("observation", "state_key", "text", "action", "error", "valid", "rewards", "agent", "policy", "seconds")


class Trajectories:
    """Everything stored under a path, a row a trajectory. Iterating gives groups, whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def table(self, columns: Sequence[str] | None = None) -> Any:
        """A ``pyarrow.Table`` of the flat columns (all of them by default); turns are not read.

        Raises UserError for a damaged file, naming it.
        """
        wanted = list(columns or TRAJECTORY)
        parts = [_columns(file, wanted) for file in files_of(self.path)]
        return pa.concat_tables(parts)

    def to_pandas(self) -> pd.DataFrame:
        """A row a trajectory: task, success, reward, n_turns, stop_reason, group, iteration ..."""
        frame: pd.DataFrame = self.table().to_pandas()
        return frame

    def group(self, group: int | str) -> Group:
        """A group by its id or its place (0 is the first). Raises UserError where there is none such."""
        names: list[tuple[Path, str]] = []
        for file in files_of(self.path):
            found = list(dict.fromkeys(_columns(file, ["group"])["group"].to_pylist()))
            names += [(file, name) for name in found]
            if (isinstance(group, int) and 0 <= group < len(names)) or group in found:
                break
        if isinstance(group, int):
            if not 0 <= group < len(names):
                raise UserError(f"there is no group {group}: {self.path} holds {len(names)}")
            file, name = names[group]
        else:
            chosen = [(file, name) for file, name in names if name == group]
            if not chosen:
                raise unknown("group", group, [name for _, name in names])
            file, name = chosen[0]
        return next(g for g in store.read(file) if g.id == name)

    def __iter__(self) -> Iterator[Group]:
        for file in files_of(self.path):
            yield from store.read(file)

    def __len__(self) -> int:
        return sum(pq.ParquetFile(file).metadata.num_rows for file in files_of(self.path))

    def __repr__(self) -> str:
        table = self.table(["success", "trusted", "n_turns", "group"])
        n, groups = len(table), len(pc.unique(table["group"]))
        won = pc.sum(table["success"]).as_py() or 0
        return (
            f"{n} trajectories in {groups} groups, {pc.sum(table['n_turns']).as_py() or 0} turns, "
            f"{won / n if n else 0:.1%} successful: {self.path}"
        )


class Turns:
    """Everything stored under a path, a row a turn: the trajectory's id beside what is one value a turn."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def table(self) -> Any:
        """A ``pyarrow.Table``: trajectory, turn, observation, action, reward, tokens ... Token records stay behind."""
        return pa.concat_tables([_turns(file) for file in files_of(self.path)])

    def to_pandas(self) -> pd.DataFrame:
        frame: pd.DataFrame = self.table().to_pandas()
        return frame

    def __len__(self) -> int:
        return int(pc.sum(Trajectories(self.path).table(["n_turns"])["n_turns"]).as_py() or 0)

    def __repr__(self) -> str:
        return f"{len(self)} turns: {self.path}"


def _columns(file: Path, columns: Sequence[str]) -> Any:
    """Columns of a file by name. The kind of a task, which the first format kept in ``info``, is read from there."""
    try:
        stored = pq.ParquetFile(file)
        if "task_type" not in columns or "task_type" in stored.schema_arrow.names:
            return stored.read(list(columns)).replace_schema_metadata()
        others = [name for name in columns if name != "task_type"]
        table = stored.read(list(dict.fromkeys([*others, "info"]))).replace_schema_metadata()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file} is damaged or no trajectory file: {str(error).splitlines()[0]}") from None
    kinds = pa.array([kind_of(json.loads(info)) for info in table["info"].to_pylist()], pa.string())
    return table.append_column("task_type", kinds).select(list(columns))


def _turns(file: Path) -> Any:
    read = [*(f"turns.list.element.{name}" for name in OF_TURNS), "turns.list.element.completion_ids"]
    table = _columns(file, ["id", "n_turns", *read, "turns.list.element.tool_calls"])
    lists = table["turns"].combine_chunks()
    lists = pa.concat_arrays(lists.chunks) if isinstance(lists, pa.ChunkedArray) else lists
    flat = lists.flatten()
    owner = pc.list_parent_indices(lists)
    lengths = table["n_turns"].to_numpy()
    first = (lengths.cumsum() - lengths)[owner.to_numpy()]
    turn = pa.array(range(len(flat)), pa.int64()).to_numpy() - first
    rewards = [sum(value for _, value in pairs) for pairs in flat.field("rewards").to_pylist()]
    columns = {
        "trajectory": table["id"].combine_chunks().take(owner),
        "turn": pa.array(turn),
        **{name: flat.field(name) for name in OF_TURNS if name not in ("rewards", "seconds")},
        "reward": pa.array(rewards, pa.float64()),
        "seconds": pa.array([sum(v for _, v in pairs) for pairs in flat.field("seconds").to_pylist()], pa.float64()),
        "tokens": pc.list_value_length(flat.field("completion_ids")),
        "tool_calls": pc.list_value_length(flat.field("tool_calls")),
    }
    return pa.table(columns)
