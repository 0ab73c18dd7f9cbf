"""LATR: branches where the policy is unsure, and none that repeats its parent."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.rollout.episode import Job
from agentrl.trainers.sampling.latr import edits, unsure
from agentrl.types import Task, Trajectory

from .conftest import World, sampling, turn


class Says(World):
    """Two turns of three tokens; a branch says what its parent did unless ``differs``. One place is the least sure."""

    def __init__(self, differs: bool = True) -> None:
        super().__init__(2)
        self.differs = differs

    def one(self, job: Job) -> Trajectory:
        t = Trajectory(job.id, job.task, job.seed, group=job.group)
        at, token = (job.stem.turn, job.stem.token) if job.stem else (0, 0)
        if job.stem is not None:
            job.stem.mark(t)
        draw = np.random.default_rng(job.seed % 2**32)
        while len(t.turns) < 2:
            index = len(t.turns)
            made = turn([0.2, 2.0 if index else 1.0, 0.0])
            made.completion_ids = np.arange(3, dtype=np.int32) + 3 * index
            if self.differs:
                made.completion_ids = draw.integers(0, 1000, 3).astype(np.int32)
            if job.stem is not None and index == at:
                made.completion_ids[:token] = job.stem.trajectory.turns[at].completion_ids[:token]
            t.turns.append(made)
        return t


def grow(world: World, **options: float) -> tuple[list[Trajectory], list[Trajectory]]:
    made = sampling(tasks=1, group=6, brancher={"latr": options})
    groups, dropped = asyncio.run(made.play(0, [Task("T-v0", 0)], world.play))
    made.observe([*groups, *dropped])
    return [t for group in groups for t in group], [t for group in dropped for t in group]


def test_branches_replace_the_tokens_of_highest_entropy_first() -> None:
    kept, dropped = grow(Says(), roots=1)
    root, *branches = kept
    assert root.parent is None
    assert len(branches) == 5
    assert not dropped
    first = [(t.branch_turn, t.branch_token or 0) for t in branches if t.parent == root.id]
    assert first[:4] == [(1, 1), (0, 1), (0, 0), (1, 0)]  # nats 2.0, 1.0, 0.2, 0.2; 0.0 is none
    assert len({(t.parent, t.branch_turn, t.branch_token) for t in branches}) == 5


def test_branches_that_repeat_their_parent_are_dropped_and_kept_apart() -> None:
    world = Says(differs=False)
    kept, dropped = grow(world, roots=1, tries=2)
    assert all(t.parent is None for t in kept)
    assert dropped
    assert all(t.parent and t.group.endswith("-pruned") for t in dropped)
    assert len(dropped) == 4  # every place of the root; then fresh ones fill the group
    assert len(kept) == 6


def test_roots_are_a_quarter_and_failures_are_not_branched() -> None:
    world = Says()
    kept, _ = grow(world)
    assert [t.parent is None for t in kept] == [True, True, False, False, False, False]
    alone = World(1, fail=("000", "001"))
    kept, _ = grow(alone)
    assert {t.parent for t in kept} == {None}


def test_only_own_tokens_are_places() -> None:
    t = Trajectory("a", Task("T-v0", 0), 0, [turn([1.0, 1.0]), turn([0.5, 3.0, 0.05])])
    assert unsure(t, 0.1) == [(1.0, 0, 0), (1.0, 0, 1), (0.5, 1, 0), (3.0, 1, 1)]
    t.parent, t.branch_turn, t.branch_token = "b", 1, 1
    assert unsure(t, 0.1) == [(3.0, 1, 1)]


words = st.lists(st.integers(0, 2), max_size=6)


@given(words, words)
def test_edits_are_a_distance(a: list[int], b: list[int]) -> None:
    d = edits(a, b)
    assert d == edits(b, a)
    assert abs(len(a) - len(b)) <= d <= max(len(a), len(b))
    assert (d == 0) == (a == b)


@pytest.mark.parametrize(("a", "b", "d"), [("kitten", "sitting", 3), ("", "abc", 3), ("flaw", "lawn", 2)])
def test_edits_of_known_words(a: str, b: str, d: int) -> None:
    assert edits([ord(c) for c in a], [ord(c) for c in b]) == d
