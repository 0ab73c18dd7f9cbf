"""A folder that says what it holds: the hash of each of its files, so that a damaged or cut one is noticed.

``sha256.json`` lies beside them. A folder without it was not sealed, and there is nothing to check.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from agentrl.errors import UserError

NAME = "sha256.json"


def seal(folder: Path) -> None:
    """Write down the hashes of all files in ``folder`` and below."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    found = {path.relative_to(folder).as_posix(): _hash(path) for path in files}
    (folder / NAME).write_text(json.dumps(found, indent=1) + "\n")


def check(folder: Path, leave: str | None = None) -> None:
    """Raises UserError with the first file that is not as it was sealed, and the newest whole folder beside this one.

    Files whose name ends in ``leave`` are not looked at.
    """
    wrong = _wrong(folder, leave)
    if wrong is None:
        return
    folder = folder.resolve()
    beside = (path for path in folder.parent.iterdir() if path.is_dir() and not path.is_symlink() and path != folder)
    whole = (path for path in sorted(beside, reverse=True) if (path / NAME).exists() and _wrong(path, None) is None)
    good = next(whole, None)
    raise UserError(f"{folder / wrong}; " + (f"the last good one is {good}" if good else "there is no other beside it"))


def _wrong(folder: Path, leave: str | None) -> str | None:
    """The first file that is not as it was sealed, and what is the matter with it."""
    if not (folder / NAME).exists():
        return None
    try:
        known: dict[str, str] = dict(json.loads((folder / NAME).read_text()))
    except ValueError:
        return f"{NAME} is damaged"
    for name, hash in known.items():
        if leave is not None and name.endswith(leave):
            continue
        if not (folder / name).is_file():
            return f"{name} is missing"
        if _hash(folder / name) != hash:
            return f"{name} is damaged: it is not what was saved"
    return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
