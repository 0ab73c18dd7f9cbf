"""The expert: the next command, from nothing but what the agent has been shown.

The world changes only by the agent's own hands, so what it knows is what lies in the receptacles it has looked into
(``checked``) and what it holds. It goes for a goal object it has seen, and otherwise looks on along the list of the
first observation: the next receptacle after where it stands that it has not looked into, and at the end from the start.
"""

from __future__ import annotations

from collections.abc import Iterable

from agentrl.envs.household.engine import Engine
from agentrl.envs.household.world import PICKUPABLE, STATIONS


def next_command(engine: Engine) -> str:
    """A command that leads on towards the goal, from any state; ``look`` where nothing is left to try."""
    layout, held = engine.layout, engine.held
    if held < 0:
        return _fetch(engine)
    name = layout.objects[held]
    if held not in layout.goal_objects:
        kind = layout.object_types[held]
        fitting = [r for r, at in enumerate(layout.receptacle_types) if (at, kind) in layout.can_contain]
        return _carry(engine, name, fitting)
    if layout.lamps:
        return _shine(engine)
    if layout.treatment and not engine.marks[held] & layout.mark:
        stations = [r for r, at in enumerate(layout.receptacle_types) if at == STATIONS[layout.treatment]]
        r = _nearest(engine, stations)
        return _go(engine, r) or f"{layout.treatment} {name} with {layout.receptacles[r]}"
    return _carry(engine, name, _begun(engine) or layout.goal_receptacles)


def _fetch(engine: Engine) -> str:
    """Take a goal object, the one nearest to its goal first: a treated one, then one at hand."""
    layout = engine.layout
    done = _begun(engine)
    known = [
        (not engine.marks[o] & layout.mark, layout.locations[r] != engine.place, r, o)
        for r in _checked(engine)
        if r not in done
        for o in engine.contents[r]
        if o in layout.goal_objects and layout.affords[o] & PICKUPABLE
    ]
    if not known:
        return _search(engine)
    _, _, r, o = min(known)
    return _open(engine, r) or f"take {layout.objects[o]} from {layout.receptacles[r]}"


def _shine(engine: Engine) -> str:
    layout = engine.layout
    for r in _checked(engine):
        for o in engine.contents[r]:
            if o in layout.lamps:
                return _open(engine, r) or f"use {layout.objects[o]}"
    return _search(engine)


def _search(engine: Engine) -> str:
    """Look into the next receptacle that was not looked into: one at hand, else the next one listed."""
    layout = engine.layout
    count = len(layout.receptacles)
    unknown = [r for r in range(count) if not engine.checked >> r & 1]
    if not unknown:
        return "look"
    here = next((r for r in range(count) if layout.locations[r] == engine.place), 0)
    r = min(unknown, key=lambda r: (layout.locations[r] != engine.place, (r - here) % count))
    return _open(engine, r) or f"examine {layout.receptacles[r]}"


def _carry(engine: Engine, name: str, where: Iterable[int]) -> str:
    r = _nearest(engine, where)
    return _open(engine, r) or f"move {name} to {engine.layout.receptacles[r]}"


def _checked(engine: Engine) -> list[int]:
    return [r for r in range(len(engine.layout.receptacles)) if engine.checked >> r & 1]


def _begun(engine: Engine) -> list[int]:
    """Where two objects are wanted: the receptacle that holds one already, as the second must join the first."""
    layout = engine.layout
    if layout.wanted == 1:
        return []
    known = (r for r in layout.goal_receptacles if engine.checked >> r & 1)
    return [r for r in known if not layout.goal_objects.isdisjoint(engine.contents[r])][:1]


def _nearest(engine: Engine, candidates: Iterable[int]) -> int:
    """The candidate at hand, else the first one in the order of the first observation."""
    return min(candidates, key=lambda r: (engine.layout.locations[r] != engine.place, r))


def _go(engine: Engine, r: int) -> str | None:
    """The way to a receptacle, or None where the agent stands beside it."""
    return None if engine.layout.locations[r] == engine.place else f"go to {engine.layout.receptacles[r]}"


def _open(engine: Engine, r: int) -> str | None:
    """The way to what a receptacle holds, or None where the agent can reach into it."""
    return _go(engine, r) or (None if engine.is_visible(r) else f"open {engine.layout.receptacles[r]}")
