"""What is fixed about one household: its rooms, things, initial state and goal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from agentrl.envs.household.world import LOOK, TREATMENT_OF, TREATMENTS, TWO

MIDDLE = "You are in the middle of a room. Looking quickly around you, you see "


@dataclass(frozen=True, slots=True)
class Goal:
    """What the task asks for; ``target`` is a receptacle type, or a lamp type for ``look_at_obj_in_light``."""

    kind: str
    object: str
    target: str
    text: str


@dataclass(frozen=True)
class Layout:
    """Everything about a world that is fixed, its initial state included. Shared by all episodes of a task."""

    receptacles: tuple[str, ...]  # names, in the order in which the room is described
    receptacle_types: tuple[str, ...]
    openable: tuple[bool, ...]
    opened: tuple[bool, ...]
    locations: tuple[int, ...]  # where each receptacle stands
    start: int  # where the agent stands
    objects: tuple[str, ...]  # names, in the order in which contents are listed
    object_types: tuple[str, ...]
    affords: tuple[int, ...]  # bits of agentrl.envs.household.world
    contents: tuple[tuple[int, ...], ...]  # the objects in each receptacle
    can_contain: frozenset[tuple[str, str]]  # (receptacle type, object type)
    goal: Goal
    limit: int  # turns

    @cached_property
    def receptacle_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.receptacles)}

    @cached_property
    def object_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.objects)}

    @cached_property
    def a_object(self) -> tuple[str, ...]:
        return tuple("a " + name for name in self.objects)

    @cached_property
    def near(self) -> dict[int, tuple[int, ...]]:
        """The receptacles at each location."""
        places = {self.start, *self.locations}
        return {place: tuple(r for r, at in enumerate(self.locations) if at == place) for place in places}

    @cached_property
    def always(self) -> dict[int, list[str]]:
        """The commands that mean something at a location whatever the state, sorted."""
        travel = sorted((f"go to {name}", at) for name, at in zip(self.receptacles, self.locations, strict=True))
        rest = ["inventory", "look"]
        return {place: [text for text, at in travel if at != place] + rest for place in self.near}

    @cached_property
    def goal_objects(self) -> frozenset[int]:
        return frozenset(o for o, kind in enumerate(self.object_types) if kind == self.goal.object)

    @cached_property
    def goal_receptacles(self) -> tuple[int, ...]:
        return tuple(r for r, kind in enumerate(self.receptacle_types) if kind == self.goal.target)

    @cached_property
    def lamps(self) -> frozenset[int]:
        """The lamps that the goal means; empty where it asks for no lamp."""
        named = self.goal.target if self.goal.kind == LOOK else None
        return frozenset(o for o, kind in enumerate(self.object_types) if kind == named)

    @cached_property
    def treatment(self) -> str | None:
        """``clean``, ``heat`` or ``cool``, where the goal asks for it."""
        return TREATMENT_OF.get(self.goal.kind)

    @cached_property
    def mark(self) -> int:
        """The mark that the goal object must bear (0: none)."""
        return TREATMENTS[self.treatment] if self.treatment else 0

    @cached_property
    def wanted(self) -> int:
        """How many goal objects must lie in one receptacle."""
        return 2 if self.goal.kind == TWO else 1

    @cached_property
    def intro(self) -> str:
        return MIDDLE + listing([f"a {name}" for name in self.receptacles]) + "."


def listing(names: list[str]) -> str:
    """``a``, ``a, and b``, ``a, b, and c``; ``nothing``."""
    if len(names) < 2:
        return names[0] if names else "nothing"
    return f"{', '.join(names[:-1])}, and {names[-1]}"
