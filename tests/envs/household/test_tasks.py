"""Tasks by id: fixed, disjoint, of the stated sizes, and unseen where they say so."""

import hashlib
import re
import subprocess
import sys
from collections import Counter

import pytest

from agentrl.envs.household.engine import Engine
from agentrl.envs.household.expert import next_command
from agentrl.envs.household.tasks import SIZES, SPLITS, layout_of, most_turns, splits
from agentrl.envs.household.world import CONTAINERS, HELD_OUT, KINDS, LOOK, ROOMS
from agentrl.errors import UserError


def transcript(layout):
    engine = Engine(layout)
    commands, texts = [], [layout.intro, layout.goal.text]
    while not engine.solved():
        commands.append(next_command(engine))
        texts.append(engine.step(commands[-1]))
    return commands, texts


def pairs(layout):
    return {
        (layout.object_types[o], layout.receptacle_types[r]) for r, inside in enumerate(layout.contents) for o in inside
    }


def goal_pair(layout):
    if layout.goal.kind != LOOK:
        return {(layout.goal.object, layout.goal.target)}
    return {pair for pair in pairs(layout) if pair[0] == layout.goal.object}


@pytest.fixture(scope="module")
def train():
    return [layout_of.__wrapped__(task) for size in SIZES for task in splits(size)["train"][:3000]]


@pytest.fixture(scope="module")
def unseen():
    return [layout_of.__wrapped__(task) for size in SIZES for task in splits(size)["unseen"][:256]]


def test_ids_are_lazy_disjoint_and_interleaved():
    found = splits("tiny+small")
    assert {split: len(ids) for split, ids in found.items()} == {split: 2 * n for split, n in SPLITS.items()}
    assert found["train"][:3] == ["tiny-train-00000", "small-train-00000", "tiny-train-00001"]
    assert found["unseen"][-1] == "small-unseen-00511"
    assert "tiny-seen-00255" in found["seen"]
    assert not {"tiny-seen-00256", "medium-seen-00000", "tiny-train-00000", "tiny-seen-0", 7} & {
        x for x in found["seen"]
    }
    assert len(set(found["train"])) == 40000
    with pytest.raises(IndexError):
        found["seen"][512]
    assert splits(game_file="x.tw-pddl")["train"] == ("x.tw-pddl",)


@pytest.mark.parametrize("size", ["huge", "", "tiny+", "tiny+tiny", "tiny,small"])
def test_unknown_sizes_are_the_users_error(size):
    with pytest.raises(UserError):
        splits(size)


@pytest.mark.parametrize(
    "task", ["", "small-train-20000", "small-train-1", "small-unseen-00512", "small-train-0000１", "x" * 99]
)
def test_unknown_ids_are_the_users_error(task):
    with pytest.raises(UserError, match="small-train-00017"):
        layout_of(task)


def test_sizes(train):
    for layout, size in zip(train, (size for size in SIZES for _ in range(3000)), strict=True):
        low, high = SIZES[size].receptacles
        assert low <= len(layout.receptacles) <= high
        low, high = SIZES[size].objects
        assert low <= len(layout.objects) <= high
        assert layout.limit == SIZES[size].limit
        assert not Engine(layout).solved()


def test_task_types_are_balanced(train):
    for start in range(0, len(train), 3000):
        counts = Counter(layout.goal.kind for layout in train[start : start + 3000])
        assert all(400 < counts[kind] < 600 for kind in KINDS), counts


def test_held_out_pairs_are_a_fifth_and_leave_every_type_to_learn_from():
    every = {(name, r) for name, into in CONTAINERS.items() for r in into}
    assert every > HELD_OUT
    assert 0.15 < len(HELD_OUT) / len(every) < 0.25
    assert {name for name, _ in every - HELD_OUT} == set(CONTAINERS)
    fillable = {r for _, r in every}
    assert {r for _, r in every - HELD_OUT} == fillable <= {r for room in ROOMS.values() for r in room}


def test_no_held_out_pair_in_train_and_seen(train):
    seen = [layout_of.__wrapped__(task) for size in SIZES for task in splits(size)["seen"]]
    for layout in train + seen:
        assert not HELD_OUT & (pairs(layout) | goal_pair(layout))


def test_unseen_goals_and_arrangements_are_held_out(train, unseen):
    known = {(layout.receptacles, layout.objects, layout.contents) for layout in train}
    for layout in unseen:
        assert goal_pair(layout) <= HELD_OUT
        assert pairs(layout) & HELD_OUT
        assert (layout.receptacles, layout.objects, layout.contents) not in known
    assert {layout.goal.kind for layout in unseen} == set(KINDS)


def test_unseen_uses_known_words_but_no_known_sequence(train, unseen):
    train_words, train_sequences = set(), set()
    for layout in train:
        commands, texts = transcript(layout)
        train_sequences.add(tuple(commands))
        train_words.update(re.findall(r"\S+", " ".join([*commands, *texts])))
    known = 0
    for layout in unseen:
        commands, texts = transcript(layout)
        known += tuple(commands) in train_sequences
        assert train_words.issuperset(re.findall(r"\S+", " ".join([*commands, *texts])))
    assert known == 0  # by construction: the last or the taking command names a held-out pair


def test_the_expert_keeps_to_the_bound_on_its_turns(train, unseen):
    tight = 0
    for layout in [*train[::4], *unseen]:
        commands, _ = transcript(layout)
        assert len(commands) <= most_turns(layout)
        tight += len(commands) + 1 >= most_turns(layout)
    assert tight > 100  # a bound that is always far off would prove little


def test_a_task_is_the_same_in_every_process():
    code = (
        "from agentrl.envs.household.tasks import layout_of, SIZES\n"
        "for task in (f'{s}-{p}-00007' for s in SIZES for p in ('train', 'seen', 'unseen')):\n"
        "    fixed = layout_of(task)\n"
        "    print(fixed.receptacles, fixed.objects, fixed.contents, fixed.goal)"
    )
    runs = set()
    for seed in ("1", "2"):
        variables = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
        runs.add(ran.stdout)
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("task", "digest"),
    [
        ("tiny-train-00003", "27d04ee3474a2469"),
        ("small-train-00017", "769d8df830f00d2e"),
        ("medium-seen-00003", "791bfb1954cf15cd"),
        ("full-unseen-00003", "9d1d570fdf66592f"),
    ],
)
def test_a_task_stays_what_it_was(task, digest):
    """Published figures stay comparable: what changes these needs a new version of the environment."""
    layout = layout_of(task)
    told = repr((layout.receptacles, layout.objects, layout.contents, layout.goal)).encode()
    assert hashlib.blake2b(told, digest_size=8).hexdigest() == digest


def test_first_observations_stay_what_they_were():
    """Hundreds of tasks at once, of every size and split."""
    tasks = [task for size in SIZES for split in SPLITS for task in splits(size)[split][:50]]
    told = "\n".join(f"{layout.intro} {layout.contents} {layout.goal.text}" for layout in map(layout_of, tasks))
    assert hashlib.blake2b(told.encode(), digest_size=8).hexdigest() == "dd027a22bea5740c"
