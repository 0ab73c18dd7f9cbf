"""Files of a session by name, where no name and no link leads out of its folder."""

from __future__ import annotations

import os
import stat


def write(path: str, data: bytes) -> None:
    """Make or replace a file and the folders above it. Raises OSError or ValueError."""
    fd = _open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, make=True)
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def read(path: str, limit: int) -> bytes:
    """A file of at most ``limit`` bytes. Raises OSError or ValueError."""
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path!r} is larger than {limit} bytes")
    return data


def _open(path: str, flags: int, make: bool = False) -> int:
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is no plain relative path")
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            if make:
                try:
                    os.mkdir(part, dir_fd=folder)
                except FileExistsError:
                    pass
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        fd = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError(f"{path!r} is no regular file")
    return fd
