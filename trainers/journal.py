"""Episodes that are finished and not yet trained on, in memory and in a file, so that no kill loses them."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from pathlib import Path

from agentrl.store.files import write_whole
from agentrl.types import Trajectory


class Journal:
    """By id, as they end. ``path`` holds one pickle after another, of which a kill may cut the last."""

    def __init__(self, path: Path, first: int = 0) -> None:
        """Go on after checkpoint ``first``, which knows the weights of versions up to that.

        Left out is what was trained on by then, and what later weights sampled: those are gone.
        """
        self.path = path
        self._lock = threading.Lock()  # rollouts may have a thread of their own
        self._held = {t.id: t for t in read(path) if _iteration(t) >= first and _newest(t) <= first}
        self.cut()

    def get(self, id: str) -> Trajectory | None:
        return self._held.get(id)

    def add(self, trajectory: Trajectory) -> None:
        with self._lock, self.path.open("ab") as file:
            self._held[trajectory.id] = trajectory
            pickle.dump(trajectory, file)

    def drop(self, iteration: int) -> None:
        """Forget what an iteration trained on, and the spares that it did not need. The file keeps them until a cut."""
        with self._lock:
            self._held = {id: t for id, t in self._held.items() if _iteration(t) != iteration}

    def cut(self) -> None:
        """Leave nothing in the file but what is not trained on yet. To be called when a checkpoint knows the rest."""
        with self._lock:
            if self._held:
                whole = b"".join(map(pickle.dumps, self._held.values()))
                write_whole(self.path.parent, {self.path.name: lambda file: file.write(whole)})
            else:
                self.path.unlink(missing_ok=True)


def read(path: Path) -> Iterator[Trajectory]:
    """The trajectories of a file, up to one that cannot be read; none where there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while True:
            try:
                yield pickle.load(file)
            except Exception:  # the end, or what is cut off there; pickle raises all sorts of errors
                return


def _iteration(trajectory: Trajectory) -> int:
    return int(trajectory.id.partition("-")[0])


def _newest(trajectory: Trajectory) -> int:
    """The newest version of the weights that sampled any of its tokens."""
    return max((version for turn in trajectory.turns for _, version in turn.versions), default=0)
