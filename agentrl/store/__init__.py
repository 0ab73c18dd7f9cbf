"""Trajectories on disk: Parquet files, a row a trajectory with its turns nested, each file written whole.

A file appears under its name only when it is complete and on the disk, so that a kill loses at most the iteration in
progress. Token ids, logprobs and times come back exactly. A prompt is stored as the number of leading ids that it
shares with the turn before (its prompt and completion) and the ids that are new, so that size grows with what was
said and not with its square. Observations, actions and other free-form values are JSON text, and images are files
beside the table, see :mod:`agentrl.store.images`. The flat columns (task,
env, success, reward, n_turns, stop_reason, trusted, group, iteration ...) are for people:
``pandas.read_parquet(folder)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from agentrl.errors import UserError
from agentrl.store.decode import decode
from agentrl.store.encode import encode
from agentrl.store.files import files_of, write_whole
from agentrl.store.images import Images
from agentrl.store.migrate import migrated
from agentrl.store.schema import FORMAT, SCHEMA
from agentrl.types import Group

__all__ = ["read", "read_table", "write", "write_table"]


def write(folder: str | Path, name: str, groups: Iterable[Group], *, iteration: int | None = None) -> Path:
    """Write ``folder/name.parquet`` and return its path. An existing file of that name is replaced, whole.

    What is not plain data in an ``info`` is stored as its ``repr``. Raises OSError, with the path, where the disk is
    full or the folder cannot be written; ValueError where two groups have the same id.
    """
    groups = list(groups)
    if len({group.id for group in groups}) != len(groups):
        raise ValueError(f"two groups of {name} have the same id")
    images = Images(Path(folder))
    table = encode(groups, iteration, images)
    images.write()
    return write_table(Path(folder) / f"{name}.parquet", table)


def read(path: str | Path) -> list[Group]:
    """The groups of one file, or of every ``*.parquet`` of a folder, or of a run's, in the order of their names.

    A trajectory that is read back names the group it was stored in. Raises UserError, with the path, for a file that
    is cut off, in another format or missing, and for a folder without trajectories.
    """
    return [group for file in files_of(path) for group in decode(_load(file), Images(file.parent))]


def write_table(path: Path, table: Any) -> Path:
    """Write a ``pyarrow.Table`` as Parquet: the file appears, or replaces another, when it is complete and synced."""
    write_whole(path.parent, {path.name: lambda file: pq.write_table(table, file, compression="zstd")})
    return path


def read_table(file: Path) -> Any:
    """The ``pyarrow.Table`` of a Parquet file. Raises UserError where it is missing or damaged."""
    if not file.exists():
        raise UserError(f"no such file or folder: {file}")
    with open(file, "rb") as handle:
        try:
            return pq.read_table(handle)
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{file} is damaged or no Parquet file: {str(error).splitlines()[0]}") from None


def _load(file: Path) -> Any:
    table = read_table(file)
    found = (table.schema.metadata or {}).get(b"agentrl.format")
    if found is None:
        raise UserError(f"{file} holds no agentrl trajectories")
    table = migrated(table, found)
    if table is None:
        theirs, ours = found.decode(errors="replace"), FORMAT.decode()
        raise UserError(f"{file} is in trajectory format {theirs}; this version of agentrl reads format {ours}")
    if not table.schema.equals(SCHEMA):
        raise UserError(f"{file} has been changed: its columns are not those of trajectory format {FORMAT.decode()}")
    return table
