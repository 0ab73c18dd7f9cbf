"""The journal of finished episodes: what is read back, after a kill at any byte, and what leaves it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agentrl.trainers.journal import Journal, read
from agentrl.types import Task, Trajectory, Turn


def episode(id: str, *versions: int) -> Trajectory:
    """One turn of a token a version, 0 where none is named."""
    versions = versions or (0,)
    ids, logprobs = np.arange(len(versions)), np.full(len(versions), -0.5)
    turn = Turn("seen", "", ids, ids, logprobs, logprobs, versions=[*enumerate(versions)])
    return Trajectory(id, Task("E-v0", 0), 7, [turn])


def ids(path: Path) -> list[str]:
    return [t.id for t in read(path)]


def test_what_is_cut_off_at_any_byte_takes_nothing_else_with_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    ends = []
    for name in ("000000-000-000", "000000-000-001", "000001-000-000"):
        journal.add(episode(name))
        ends.append(journal.path.stat().st_size)
    held = journal.path.read_bytes()
    torn = tmp_path / "torn"
    for size in range(len(held) + 1):
        torn.write_bytes(held[:size])
        assert len(ids(torn)) == sum(end <= size for end in ends)
    torn.write_bytes(held + bytes(4096))  # as file systems do when the machine goes down
    assert len(ids(torn)) == 3
    torn.write_bytes(held[:-1])
    again = Journal(torn)
    again.add(episode("000001-000-001"))
    assert ids(torn) == ["000000-000-000", "000000-000-001", "000001-000-001"]
    assert next(read(torn)).turns[0].logprobs.tolist() == [-0.5]


def test_what_was_trained_on_or_sampled_by_weights_that_are_gone_is_left_out(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for t in (episode("000001-000-000", 1), episode("000002-000-000", 1, 2), episode("000003-000-000", 2, 3)):
        journal.add(t)
    assert ids(Journal(journal.path, 2).path) == ["000002-000-000"]


def test_the_file_keeps_what_was_trained_on_until_a_checkpoint_has_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for name in ("000000-000-000", "000000-000-000+0", "000001-000-000"):
        journal.add(episode(name))
    journal.drop(0)
    assert journal.get("000000-000-000") is None
    assert len(ids(journal.path)) == 3
    journal.cut()
    assert ids(journal.path) == ["000001-000-000"]
    journal.drop(1)
    journal.cut()
    assert not journal.path.exists()
