"""The world as pure functions: what an action does in a state. The environment and the exact values share them.

A task id says everything: in ``row5-start2-key1-door3-goal5`` five rooms stand in a row, the agent starts in room 2,
the key lies in room 1, and a locked door between rooms 3 and 4 bars the way to the goal, room 5.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from agentrl.errors import UserError

ROWS = (4, 5, 6)
LIMIT = 20  # turns of an episode

_ID = re.compile(r"row([0-9])-start([0-9])-key([0-9])-door([0-9])-goal([0-9])", re.ASCII)


class World(NamedTuple):
    """One task. Rooms count from 1; the door stands between rooms ``door`` and ``door + 1``."""

    rooms: int
    start: int
    key: int
    door: int
    goal: int

    @property
    def id(self) -> str:
        return "row{}-start{}-key{}-door{}-goal{}".format(*self)

    @property
    def first(self) -> State:
        return State(self.start, False, False)


class State(NamedTuple):
    """Where the agent is and what it has done: with the task, all that the future depends on."""

    room: int
    has_key: bool
    is_open: bool


@cache
def splits() -> dict[str, tuple[str, ...]]:
    """Every world whose start and key (in two rooms) lie on one side of the door and whose goal lies on the other."""
    worlds = [
        World(rooms, start, key, door, goal)
        for rooms in ROWS
        for door in range(1, rooms)
        for start in range(1, rooms + 1)
        for key in range(1, rooms + 1)
        for goal in range(1, rooms + 1)
        if start != key and (start <= door) == (key <= door) != (goal <= door)
    ]
    ids = [world.id for world in worlds]
    return {"train": tuple(id for i, id in enumerate(ids) if i % 5), "unseen": tuple(ids[::5])}


def world_of(task: object) -> World:
    """The world of a task id. Raises UserError for anything that is none."""
    match = _ID.fullmatch(task) if isinstance(task, str) else None
    world = World(*map(int, match.groups())) if match else None
    if world is None or not any(world.id in ids for ids in splits().values()):
        raise UserError(f"unknown KeyDoor task {task!r}; an id is such as {splits()['train'][0]!r}")
    return world


def advance(world: World, state: State, action: str) -> State | None:
    """The state after an action, or None where it means nothing."""
    room, has_key, is_open = state
    if action == "look":
        return state
    if action in ("go left", "go right"):
        to = room - 1 if action == "go left" else room + 1
        barred = min(room, to) == world.door and not is_open
        return None if barred or not 1 <= to <= world.rooms else State(to, has_key, is_open)
    if action == "take key" and room == world.key and not has_key:
        return State(room, True, is_open)
    if action == "open door" and has_key and not is_open and room in (world.door, world.door + 1):
        return State(room, has_key, True)
    return None


ACTIONS = ("go left", "go right", "look", "open door", "take key")


def admissible(world: World, state: State) -> list[str]:
    """Every action that means something now, sorted; none in the goal room."""
    if state.room == world.goal:
        return []
    return [action for action in ACTIONS if advance(world, state, action) is not None]


def best_action(world: World, state: State) -> str:
    """The first action of a shortest way to the goal."""
    beside = world.door if world.start <= world.door else world.door + 1
    if not state.has_key:
        return _towards(state.room, world.key) or "take key"
    if not state.is_open:
        return _towards(state.room, beside) or "open door"
    return _towards(state.room, world.goal) or "look"


def _towards(room: int, to: int) -> str | None:
    return None if room == to else "go left" if to < room else "go right"
