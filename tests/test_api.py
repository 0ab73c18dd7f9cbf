"""What ``collect`` keeps: attempts of a task, its shortest successes, labels."""

import pytest

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.rollout.teacher import label_of

ENV = "agentrl/KeyDoor-v0"


def test_attempts_of_a_task_are_one_group_and_the_shortest_successes_stay(tmp_path):
    everything = store.read(api.collect(ENV, "random", 24, tmp_path / "all", attempts=6))
    assert [len(group) for group in everything] == [6] * 4
    assert len({t.seed for group in everything for t in group}) == 24
    kept = store.read(api.collect(ENV, "random", 24, tmp_path / "own", attempts=6, keep="successes", cap=2))
    for group in kept:
        (before,) = [other for other in everything if other.task == group.task]
        wins = sorted(len(t.turns) for t in before if t.success)
        assert [len(t.turns) for t in group] == wins[:2]
        assert all(t.success for t in group)


def test_labels_are_stored_beside_what_was_done(tmp_path):
    groups = store.read(api.collect(ENV, "random", 4, tmp_path / "x", labels=True))
    turns = [turn for group in groups for t in group for turn in t.turns]
    assert all(label_of(turn) for turn in turns)
    assert any(label_of(turn) != turn.action for turn in turns)


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(UserError, match="needs labels"):
        api.collect(ENV, "random", 4, tmp_path / "x", beta=0.5)
    with pytest.raises(UserError, match="at least one"):
        api.collect(ENV, "random", 4, tmp_path / "x", cap=0)
