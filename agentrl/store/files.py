"""Where trajectories are stored, and files that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from agentrl.errors import UserError

Put = Callable[[BinaryIO], Any]


def files_of(path: str | Path) -> list[Path]:
    """The Parquet files of a run folder, a folder, or the file itself. Raises UserError where there are none."""
    path = Path(path)
    inner = path / "trajectories"
    folder = inner if inner.is_dir() else path
    files = sorted(folder.glob("*.parquet")) if folder.is_dir() else [path]
    if not files:
        raise UserError(f"no trajectories (*.parquet) in {folder}")
    for file in files:
        if not file.is_file():
            raise UserError(f"no such file or folder: {file}")
    return files


def write_text(folder: Path, name: str, text: str) -> None:
    """One file of text, as :func:`write_whole` writes it."""
    write_whole(folder, {name: lambda file: file.write(text.encode())})


def sync(path: Path) -> None:
    """Wait until a file, or what a folder lists, is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def point(folder: Path, name: str, target: Path) -> None:
    """Make ``folder/name`` a link to ``target`` beside it, in one step."""
    link = folder / f".{name}.{os.getpid()}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    os.replace(link, folder / name)


def write_whole(folder: Path, files: Mapping[str, Put]) -> None:
    """Files of what each ``put`` writes: one appears, or replaces another, when it is complete and synced.

    Raises OSError, with the path.
    """
    path = partial = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, put in files.items():
            path, partial = folder / name, folder / f".{name}.{os.getpid()}.partial"
            with open(partial, "wb") as file:
                put(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        sync(folder)  # the new names themselves
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        if partial != folder:
            partial.unlink(missing_ok=True)
