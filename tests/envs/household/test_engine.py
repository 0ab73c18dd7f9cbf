"""Wording, rules and hostile input of the engine, and what it holds admissible."""

import random
import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.envs.household.engine import LONGEST, Engine
from agentrl.envs.household.layout import Goal, Layout
from agentrl.envs.household.tasks import SIZES, layout_of
from agentrl.envs.household.world import AFFORDS, CAN_CONTAIN, OPENABLE


def world(goal=("pick_and_place_simple", "mug", "shelf"), **places):
    """A layout from ``shelf_1=["mug 1"]``, in the order given."""
    receptacles = [name.replace("_", " ") for name in places]
    objects = [name for names in places.values() for name in names]
    types = [name.split()[0] for name in objects]
    kinds = [name.split()[0] for name in receptacles]
    return Layout(
        receptacles=tuple(receptacles),
        receptacle_types=tuple(kinds),
        openable=tuple(kind in OPENABLE for kind in kinds),
        opened=(False,) * len(kinds),
        locations=tuple(range(len(kinds))),
        start=len(kinds),
        objects=tuple(objects),
        object_types=tuple(types),
        affords=tuple(AFFORDS[kind] for kind in types),
        contents=tuple(tuple(objects.index(name) for name in names) for names in places.values()),
        can_contain=CAN_CONTAIN,
        goal=Goal(*goal, "text."),
        limit=25,
    )


def play(layout, script):
    """Run ``> command`` lines and compare what follows each."""
    engine = Engine(layout)
    for block in script.strip().split("\n> "):
        command, _, expected = block.removeprefix("> ").partition("\n")
        assert (engine.step(command) or "Nothing happens.") == expected, command
    return engine


def test_wording_as_in_alfworld():
    layout = world(
        countertop_1=["apple 1", "mug 1", "egg 2"],
        fridge_1=[],
        microwave_1=["bread 1"],
        sinkbasin_1=[],
        desk_1=["desklamp 1"],
    )
    assert layout.intro == (
        "You are in the middle of a room. Looking quickly around you, you see a countertop 1, a fridge 1, "
        "a microwave 1, a sinkbasin 1, and a desk 1."
    )
    play(
        layout,
        f"""
> look
{layout.intro}
> inventory
You are not carrying anything.
> go to countertop 1
You arrive at countertop 1. On the countertop 1, you see a apple 1, a mug 1, and a egg 2.
> look
You are facing the countertop 1. Next to it, you see nothing.
> go to countertop 1
Nothing happens.
> open countertop 1
Nothing happens.
> take bread 1 from countertop 1
Nothing happens.
> take apple 1 from countertop 1
You pick up the apple 1 from the countertop 1.
> take mug 1 from countertop 1
Nothing happens.
> inventory
You are carrying: a apple 1.
> examine apple 1
There's nothing special about apple 1.
> examine countertop 1
On the countertop 1, you see a mug 1, and a egg 2.
> go to fridge 1
You arrive at fridge 1. The fridge 1 is closed.
> move apple 1 to fridge 1
Nothing happens.
> cool apple 1 with fridge 1
You cool the apple 1 using the fridge 1.
> examine apple 1
This is a cold apple 1.
> open fridge 1
You open the fridge 1. The fridge 1 is open. In it, you see nothing.
> open fridge 1
Nothing happens.
> put apple 1 in/on fridge 1
You move the apple 1 to the fridge 1.
> take apple 1 from fridge 1
You pick up the apple 1 from the fridge 1.
> close fridge 1
You close the fridge 1.
> heat apple 1 with fridge 1
Nothing happens.
> go to microwave 1
You arrive at microwave 1. The microwave 1 is closed.
> examine bread 1
Nothing happens.
> take bread 1 from microwave 1
Nothing happens.
> heat apple 1 with microwave 1
You heat the apple 1 using the microwave 1.
> examine apple 1
This is a hot apple 1.
> go to sinkbasin 1
You arrive at sinkbasin 1. On the sinkbasin 1, you see nothing.
> clean apple 1 with sinkbasin 1
You clean the apple 1 using the sinkbasin 1.
> examine apple 1
This is a hot and clean apple 1.
> move apple 1 to sinkbasin 1
You move the apple 1 to the sinkbasin 1.
> clean apple 1 with sinkbasin 1
Nothing happens.
> use desklamp 1
Nothing happens.
> go to desk 1
You arrive at desk 1. On the desk 1, you see a desklamp 1.
> examine desklamp 1
Nothing happens.
> take desklamp 1 from desk 1
Nothing happens.
> use desklamp 1
You turn on the desklamp 1.
> go to microwave 1
You arrive at microwave 1. The microwave 1 is closed.
> open microwave 1
You open the microwave 1. The microwave 1 is open. In it, you see a bread 1.
""",
    )


@pytest.mark.parametrize("spelling", ["GO TO Shelf 1", "  go   to\tshelf 1 ", "go to shelf 1.", "Go to\nshelf 1 ."])
def test_spelling_is_forgiven(spelling):
    assert Engine(world(shelf_1=[])).step(spelling) == "You arrive at shelf 1. On the shelf 1, you see nothing."


@pytest.mark.parametrize("preposition", ["in/on", "in", "on"])
def test_older_put(preposition):
    engine = Engine(world(countertop_1=["mug 1"], shelf_1=[]))
    for command in ("go to countertop 1", "take mug 1 from countertop 1", "go to shelf 1"):
        engine.step(command)
    assert engine.step(f"put mug 1 {preposition} shelf 1") == "You move the mug 1 to the shelf 1."
    assert engine.solved()


def test_the_goal_needs_its_mark():
    goal = ("pick_clean_then_place_in_recep", "mug", "shelf")
    engine = Engine(world(goal, countertop_1=["mug 1"], sinkbasin_1=[], shelf_1=[]))
    for command in ("go to countertop 1", "take mug 1 from countertop 1", "go to shelf 1", "move mug 1 to shelf 1"):
        assert engine.step(command)
        assert not engine.solved()
    for command in ("take mug 1 from shelf 1", "go to sinkbasin 1", "clean mug 1 with sinkbasin 1", "go to shelf 1"):
        assert engine.step(command)
        assert not engine.solved()
    engine.step("move mug 1 to shelf 1")
    assert engine.solved()


def test_two_objects_must_lie_in_one_receptacle():
    goal = ("pick_two_obj_and_place", "mug", "shelf")
    engine = Engine(world(goal, desk_1=["mug 1", "mug 2"], shelf_1=[], shelf_2=[]))
    for n in (1, 2):
        for command in ("go to desk 1", f"take mug {n} from desk 1", f"go to shelf {n}", f"move mug {n} to shelf {n}"):
            assert engine.step(command)
            assert not engine.solved()
    for command in ("take mug 2 from shelf 2", "go to shelf 1", "move mug 2 to shelf 1"):
        engine.step(command)
    assert engine.solved()


def test_looking_needs_the_object_in_hand_beside_the_lit_lamp():
    layout = world(("look_at_obj_in_light", "book", "desklamp"), desk_1=["desklamp 1", "book 1"], shelf_1=[])
    engine = Engine(layout)
    for command in ("go to desk 1", "use desklamp 1"):
        engine.step(command)
    assert not engine.solved()
    engine.step("take book 1 from desk 1")
    assert engine.solved()
    engine.step("go to shelf 1")
    assert not engine.solved()


HOSTILE = [
    *["", " ", ".", "\0", "go", "go to", "go to ", "go to shelf", "go to shelf 1 1", "go to shelf one", "take"],
    *["take mug 1", "take mug 1 from", "move  to ", "go to go to", "x" * 10**7, "go to shelf 1 " + " " * 10**6],
    *[
        "look " * 10**5,
        "ſhelf",
        "\ud800",
        "gö to shelf 1",
        "go to shelf １",
        "🪑" * 50,
        "'; drop table --",
        "{0}",
        "%s",
    ],
    *["__class__", "look\x00", "../../etc", "HELP HELP", "put mug 1 in / on shelf 1", "use use 1", "[]", "None"],
]


@pytest.mark.parametrize("command", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_commands_mean_nothing(command):
    engine = Engine(world(shelf_1=["mug 1"]))
    before = engine.save()
    assert engine.step(command) is None
    assert engine.save() == before


WORDS = ["go", "to", "take", "move", "put", "from", "in/on", "open", "use", "examine", "look", "clean", "with", "."]
NAMES = ["shelf 1", "cabinet 2", "sinkbasin 1", "mug 1", "mug 2", "mug", "1"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=LONGEST + 20) | st.lists(st.sampled_from(WORDS + NAMES), max_size=6).map(" ".join))
def test_a_refused_command_changes_nothing(command):
    engine = Engine(world(shelf_1=["mug 1"], cabinet_2=["mug 2"], sinkbasin_1=[]))
    engine.step("go to shelf 1")
    before = engine.save()
    if engine.step(command) is None:
        assert engine.save() == before


def every_command(layout):
    """All commands of the grammar over all names of a world."""
    yield from ("look", "inventory")
    for name in layout.receptacles:
        yield from (f"go to {name}", f"open {name}", f"close {name}", f"examine {name}", f"use {name}")
    for name in layout.objects:
        yield from (f"use {name}", f"examine {name}", f"open {name}", f"go to {name}")
    for o, r in product(layout.objects, layout.receptacles):
        yield from (
            f"take {o} from {r}",
            f"move {o} to {r}",
            f"clean {o} with {r}",
            f"heat {o} with {r}",
            f"cool {o} with {r}",
        )


@pytest.mark.parametrize("size", SIZES)
def test_admissible_is_exactly_what_is_not_refused(size):
    rng = random.Random(size)
    for number in range(4):
        layout = layout_of(f"{size}-train-{number:05d}")
        commands = set(every_command(layout))
        engine = Engine(layout)
        for _ in range(8):
            admissible = engine.admissible()
            assert admissible == sorted(set(admissible))
            assert commands.issuperset(admissible)
            state = engine.save()
            for command in commands:
                accepted = engine.step(command) is not None
                engine.load(state)
                assert accepted == (command in admissible), command
            engine.step(rng.choice(admissible))


def test_closed_and_unvisited_contents_are_never_shown():
    rng = random.Random(1)
    for number in range(60):
        layout = layout_of(f"small-unseen-{number:05d}")
        engine = Engine(layout)
        shown = layout.intro
        for _ in range(layout.limit):
            before = set(engine.visible_objects()) | {engine.held}
            command = rng.choice(engine.admissible())
            shown = engine.step(command)
            visible = {layout.objects[o] for o in {*before, *engine.visible_objects()} if o >= 0}
            for text in (shown, *engine.admissible(), str(engine.seen_here())):
                assert set(re.findall(r"[a-z]+ \d+", text)) - set(layout.receptacles) <= visible, text
