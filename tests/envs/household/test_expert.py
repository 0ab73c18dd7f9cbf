"""The expert solves everything from what was seen, also after noise; idle hands do not."""

import random

import pytest

from agentrl.envs.household.engine import Engine
from agentrl.envs.household.expert import next_command
from agentrl.envs.household.tasks import SIZES, SPARE, layout_of, splits
from agentrl.envs.household.world import KINDS


def sample(size, split, count):
    ids = splits(size)[split]
    return [layout_of.__wrapped__(task) for task in random.Random(f"{size}{split}").sample(list(ids), count)]


def solve(engine, limit):
    for n in range(limit):
        if engine.solved():
            return n
        assert engine.step(next_command(engine)) is not None
    return limit if engine.solved() else None


@pytest.mark.parametrize("size", SIZES)
def test_solves_every_task_with_turns_to_spare(size):
    kinds = set()
    for split, count in (("train", 250), ("seen", 100), ("unseen", 150)):
        for layout in sample(size, split, count):
            assert solve(Engine(layout), layout.limit - SPARE) is not None
            kinds.add(layout.goal.kind)
    assert kinds == set(KINDS)


@pytest.mark.parametrize("size", SIZES)
def test_recovers_from_any_reachable_state(size):
    rng = random.Random(size)
    for layout in sample(size, "train", 150):
        engine = Engine(layout)
        for _ in range(rng.randrange(40)):
            engine.step(rng.choice(engine.admissible()))
        assert solve(engine, 2 * len(layout.receptacles) + 12) is not None, layout.goal


def test_knows_only_what_was_seen():
    """Two worlds that differ only where nobody looked get the same commands until one looks there."""
    for layout in sample("small", "train", 100):
        moved = [o for inside in layout.contents for o in inside]
        random.Random(0).shuffle(moved)
        sizes = iter([len(inside) for inside in layout.contents])
        start = 0
        contents = []
        for n in sizes:
            contents.append(tuple(sorted(moved[start : start + n])))
            start += n
        fields = {name: getattr(layout, name) for name in layout.__dataclass_fields__}
        one, other = Engine(layout), Engine(type(layout)(**fields | {"contents": tuple(contents)}))
        while True:
            command = next_command(one)
            assert command == next_command(other)
            assert one.seen_here() == other.seen_here()
            if one.step(command) != other.step(command) or one.solved():
                break


@pytest.mark.parametrize("size", SIZES)
def test_random_play_hardly_ever_succeeds(size):
    rng, wins, layouts = random.Random(size), 0, sample(size, "train", 400)
    for layout in layouts:
        engine = Engine(layout)
        for _ in range(layout.limit):
            engine.step(rng.choice(engine.admissible()))
            if engine.solved():
                wins += 1
                break
    assert wins / len(layouts) < 0.03
