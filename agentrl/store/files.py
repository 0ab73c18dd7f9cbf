"""Files that are whole or absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

Put = Callable[[BinaryIO], Any]


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
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)  # the new names themselves
        finally:
            os.close(handle)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    finally:
        if partial != folder:
            partial.unlink(missing_ok=True)
