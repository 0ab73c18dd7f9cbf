"""The folder of an evaluation: every episode is on the disk when it ends, so that nothing is played twice."""

from __future__ import annotations

from pathlib import Path

from agentrl import store
from agentrl.errors import UserError
from agentrl.store.files import write_text
from agentrl.types import Group, Trajectory

PART = 256  # episodes that are gathered into one file


class Spool:
    """A file an episode under ``open/``, gathered into ``part-*.parquet`` now and then."""

    def __init__(self, folder: Path, label: str) -> None:
        self.folder, self.open = folder, folder / "open"
        self.open.mkdir(parents=True, exist_ok=True)
        known = folder / "evaluation.txt"
        if not known.exists():
            self.write(known.name, label)
        elif known.read_text() != label:
            other = known.read_text().split(" ")[0]
            raise UserError(f"{folder} holds another evaluation: {other}; choose another folder")
        self._number = 0

    def finished(self) -> dict[str, Trajectory]:
        """What was stored before, by id. What a kill left open is gathered first."""
        self.gather()
        parts = [group for file in self._parts() for group in store.read(file)]
        return {t.id: t for group in parts for t in group}

    def add(self, trajectory: Trajectory) -> None:
        store.write(self.open, f"{self._number:06d}", [Group(trajectory.task, trajectory.id, [trajectory])])
        self._number += 1
        if self._number == PART:
            self.gather()

    def gather(self) -> None:
        """Write what is open as one part. A kill between the two steps leaves an episode in both, which is one."""
        files = sorted(self.open.glob("*.parquet"))
        groups = {group.id: group for file in files for group in store.read(file)}
        if groups:
            store.write(self.folder, f"part-{len(self._parts()):05d}", groups.values())
        for file in files:
            file.unlink()
        self._number = 0

    def write(self, name: str, text: str) -> None:
        write_text(self.folder, name, text)

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))
