"""Tasks by id: ``small-train-00017`` names one layout and goal for good.

Generation draws a task type, a room, a goal pair and the receptacles it needs, fills the room up to its size, and
draws again until the expert finishes with some turns to spare. The pairs of ``HELD_OUT`` never occur in ``train`` and
``seen``; in ``unseen`` the goal pair is one of them (for ``look_at_obj_in_light``, whose target is a lamp, the pair of
the object and where it lies), and so is at least one initial placement. So no arrangement of ``unseen`` occurs in
``train``, and no expert sequence either: it holds ``move O to R`` (or ``take O from R``) of a held-out pair.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeVar

from agentrl.envs.household.engine import Engine
from agentrl.envs.household.expert import next_command
from agentrl.envs.household.layout import Goal, Layout
from agentrl.envs.household.world import (
    AFFORDS,
    CAN_CONTAIN,
    CONTAINERS,
    HELD_OUT,
    KINDS,
    LAMPS,
    LOOK,
    OBJECTS_IN,
    OPENABLE,
    PICKUPABLE,
    ROOMS,
    STATIONS,
    TREATMENT_OF,
    TREATMENTS,
    TWO,
)
from agentrl.envs.ids import Ids
from agentrl.errors import UserError, unknown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Size:
    """How large a world is (both ends included) and how many turns it gives."""

    receptacles: tuple[int, int]
    objects: tuple[int, int]
    limit: int


SIZES = {
    "tiny": Size((4, 5), (5, 7), 25),
    "small": Size((6, 8), (8, 12), 25),
    "medium": Size((12, 16), (14, 22), 50),
    "full": Size((20, 30), (25, 40), 50),
}
SPLITS = {"train": 20000, "seen": 256, "unseen": 512}
SPARE = 4  # turns that the expert leaves unused

_TEXTS = {
    "pick_and_place_simple": ("put a {o} in {r}.", "put some {o} on {r}."),
    "look_at_obj_in_light": ("look at {o} under the {r}.", "examine the {o} with the {r}."),
    "pick_clean_then_place_in_recep": ("put a clean {o} in {r}.", "clean some {o} and put it in {r}."),
    "pick_heat_then_place_in_recep": ("put a hot {o} in {r}.", "heat some {o} and put it in {r}."),
    "pick_cool_then_place_in_recep": ("put a cool {o} in {r}.", "cool some {o} and put it in {r}."),
    "pick_two_obj_and_place": ("put two {o} in {r}.", "find two {o} and put them in {r}."),
}


def ids(sizes: Sequence[str], split: str) -> Ids:
    """The task ids of a split. Several sizes take turns."""
    return Ids([f"{size}-{split}" for size in sizes], SPLITS[split])


def splits(size: str = "small", game_file: str | None = None) -> dict[str, Sequence[str]]:
    """The task ids of every split, for the arguments that the environment takes."""
    if game_file is not None:
        return {split: (str(game_file),) for split in SPLITS}
    sizes = parse_size(size)
    return {split: ids(sizes, split) for split in SPLITS}


def parse_size(size: str) -> list[str]:
    """``tiny+small`` -> its sizes."""
    sizes = str(size).split("+")
    for name in sizes:
        if name not in SIZES:
            raise unknown("household size", name, SIZES)
    if len(set(sizes)) < len(sizes):
        raise UserError(f"household size {size!r} names a size twice")
    return sizes


@lru_cache(maxsize=1024)
def layout_of(task: str) -> Layout:
    """The layout of a task id."""
    if not any(task in known for known in splits("+".join(SIZES)).values()):
        raise UserError(f"unknown household task {task!r}; an id is SIZE-SPLIT-NUMBER, such as 'small-train-00017'")
    size, split, _ = task.split("-")
    draw = _Draw(random.Random(f"household/{task}"), SIZES[size], split == "unseen")
    kind = draw.pick(KINDS)  # before the attempts, so that refused drafts do not shift the balance of the types
    while True:
        layout = draw.layout(kind)
        if layout is not None and _is_solvable(layout):
            return layout


def _is_solvable(layout: Layout) -> bool:
    engine = Engine(layout)
    if engine.solved():
        return False
    if most_turns(layout) <= layout.limit - SPARE:  # saves most tasks the playing, which is half of a cold reset
        return True
    for _ in range(layout.limit - SPARE):
        engine.step(next_command(engine))
        if engine.solved():
            return True
    return False


def most_turns(layout: Layout) -> int:
    """A bound on the expert's turns in a generated layout, where each receptacle stands alone and shut.

    It looks along the list of receptacles, with one turn to go and one to open, until it has seen what it needs;
    with two objects, carrying the first one away may lead it through the whole list. The rest is at most: go, take,
    go, treat, go, open and move; go, take, go and use; or go, take, go, open and move twice.
    """
    needed = layout.goal_objects | layout.lamps
    seen = [r for r, inside in enumerate(layout.contents) if not needed.isdisjoint(inside)]
    last = len(layout.receptacles) if layout.wanted == 2 else seen[-1] + 1
    return last + sum(layout.openable[:last]) + (10 if layout.wanted == 2 else 7)


@cache
def accepting(name: str, novel: bool) -> frozenset[str]:
    """The receptacle types that an object may lie in."""
    return frozenset(r for r in CONTAINERS[name] if novel or (name, r) not in HELD_OUT)


@cache
def goal_pairs(kind: str, novel: bool) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """The goals of a task type: (room, goal object, the receptacle types that complete the goal pair)."""
    verb = TREATMENT_OF.get(kind)
    station = STATIONS[verb] if verb else None
    need = PICKUPABLE | (TREATMENTS[verb] if verb else 0)
    pairs = []
    for room, names in OBJECTS_IN.items():
        makes_sense = set(LAMPS) <= set(names) if kind == LOOK else station is None or station in ROOMS[room]
        for name in names if makes_sense else ():
            into = (r for r in CONTAINERS[name] if r in ROOMS[room] and r != station)
            fitting = tuple(r for r in into if ((name, r) in HELD_OUT) == novel)
            if fitting and AFFORDS[name] & need == need:
                pairs.append((room, name, fitting))
    return tuple(pairs)


class _Draw:
    """One task's random draws. Only ``Random.random`` is used: its stream is the same in every Python version."""

    def __init__(self, rng: random.Random, size: Size, novel: bool) -> None:
        self.random, self.size, self.novel = rng.random, size, novel

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.random() * len(choices))]

    def between(self, ends: tuple[int, int]) -> int:
        return ends[0] + int(self.random() * (ends[1] - ends[0] + 1))

    def shuffled(self, values: Iterable[T]) -> list[T]:
        out = list(values)
        for i in range(len(out) - 1, 0, -1):
            j = int(self.random() * (i + 1))
            out[i], out[j] = out[j], out[i]
        return out

    def layout(self, kind: str) -> Layout | None:
        """A layout with a task of this type, or None where the draws do not fit together."""
        room, name, completing = self.pick(goal_pairs(kind, self.novel))
        paired = self.pick(completing)
        target = self.pick(LAMPS) if kind == LOOK else paired
        sources = [r for r in ROOMS[room] if r != target and r in accepting(name, self.novel)]
        source = paired if kind == LOOK else self.pick(sources)
        needed = [source]
        if kind == LOOK:  # the lamp stands elsewhere: else idle hands would meet both too often in a tiny room
            into = accepting(target, self.novel)
            needed.append(self.pick([r for r in ROOMS[room] if r != source and r in into]))
        else:
            needed.append(target)
            if kind in TREATMENT_OF:
                needed.append(STATIONS[TREATMENT_OF[kind]])
        kinds = self.receptacles(room, list(dict.fromkeys(needed)))

        placed = [(name, kinds.index(source))]
        if kind == LOOK:
            placed.append((target, kinds.index(needed[1])))
        elif kind == TWO:
            placed.append((name, self.pick([r for r, at in enumerate(kinds) if at in sources])))
        others = [other for other in OBJECTS_IN[room] if other != name]
        placed += self.distractors(kinds, others, self.between(self.size.objects) - len(placed))
        if self.novel and not any((o, kinds[r]) in HELD_OUT for o, r in placed):
            return None
        goal = Goal(kind, name, target, self.pick(_TEXTS[kind]).format(o=name, r=target))
        return self.build(kinds, self.shuffled(placed), goal)

    def receptacles(self, room: str, needed: list[str]) -> list[str]:
        """The types of the receptacles, those of a type together, the types in random order."""
        left = [kind for kind, count in ROOMS[room].items() for _ in range(count - (kind in needed))]
        total = min(self.between(self.size.receptacles), len(left) + len(needed))
        chosen = needed + self.shuffled(left)[: total - len(needed)]
        order = self.shuffled(dict.fromkeys(chosen))
        return sorted(chosen, key=order.index)

    def distractors(self, kinds: list[str], names: list[str], count: int) -> list[tuple[str, int]]:
        """Objects that are not the goal's, with the receptacles they lie in; no more than three of a type."""
        present = set(kinds)
        placeable = [name for name in names if not present.isdisjoint(accepting(name, self.novel))]
        pool = self.shuffled(name for name in placeable for _ in range(3))[:count]
        fitting: dict[str, list[int]] = {}
        for name in pool:
            if name not in fitting:
                into = accepting(name, self.novel)
                fitting[name] = [r for r, at in enumerate(kinds) if at in into]
        if not self.novel:
            return [(name, self.pick(fitting[name])) for name in pool]
        held_out = {name: [r for r in fitting[name] if (name, kinds[r]) in HELD_OUT] for name in pool}
        return [
            (name, self.pick(held_out[name] if held_out[name] and self.random() < 0.5 else fitting[name]))
            for name in pool
        ]

    def build(self, kinds: list[str], placed: list[tuple[str, int]], goal: Goal) -> Layout:
        names = [name for name, _ in placed]
        contents: list[list[int]] = [[] for _ in kinds]
        for o, (_, r) in enumerate(placed):
            contents[r].append(o)
        return Layout(
            receptacles=_numbered(kinds),
            receptacle_types=tuple(kinds),
            openable=tuple(kind in OPENABLE for kind in kinds),
            opened=(False,) * len(kinds),
            locations=tuple(range(len(kinds))),
            start=len(kinds),
            objects=_numbered(names),
            object_types=tuple(names),
            affords=tuple(AFFORDS[name] for name in names),
            contents=tuple(map(tuple, contents)),
            can_contain=CAN_CONTAIN,
            goal=goal,
            limit=self.size.limit,
        )


def _numbered(kinds: Sequence[str]) -> tuple[str, ...]:
    counts: dict[str, int] = {}
    names = []
    for kind in kinds:
        counts[kind] = counts.get(kind, 0) + 1
        names.append(f"{kind} {counts[kind]}")
    return tuple(names)
