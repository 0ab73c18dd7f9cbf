"""The relational state of a household and its dynamics, on integers and precomputed strings.

Predicates are ALFRED's: an object is ``inReceptacle`` or held (``holds``), a receptacle is ``opened`` or not, the
agent is ``atLocation``, objects are marked ``isClean``, ``isHot``, ``isCool``, ``isToggled``, and a receptacle whose
contents the agent has seen is ``checked``. Locations are apart from receptacles because official games let several
receptacles share one.
"""

from __future__ import annotations

from typing import Any

from agentrl.envs.household.layout import Layout, listing
from agentrl.envs.household.world import CLEAN, COOL, HOT, ON, PICKUPABLE, STATIONS, TREATMENTS, VESSEL

NOTHING = "Nothing happens."
HELP = (
    "You can: look, inventory, go to R, open R, close R, take O from R, move O to R, use O, "
    "clean O with R, heat O with R, cool O with R, examine R, examine O."
)
LONGEST = 256  # characters: no command comes near, and a hostile megabyte is not worth splitting

_VERB_AT = {station: verb for verb, station in STATIONS.items()}
_PREPOSITIONS = {
    "take": ("from",),
    "move": ("to",),
    "put": ("in/on", "in", "on"),
    "clean": ("with",),
    "heat": ("with",),
    "cool": ("with",),
}

State = tuple[int, int, int, int, tuple[tuple[int, ...], ...], bytes]


class Engine:
    """One household in one state. ``step`` acts, ``admissible`` lists what acts, ``save`` and ``load`` are exact."""

    __slots__ = ("checked", "contents", "held", "layout", "marks", "opened", "place")

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.place = layout.start
        self.held = -1
        self.opened = sum(1 << r for r, is_open in enumerate(layout.opened) if is_open)
        self.checked = 0
        self.contents = list(layout.contents)
        self.marks = bytearray(len(layout.objects))

    def save(self) -> State:
        return self.place, self.held, self.opened, self.checked, tuple(self.contents), bytes(self.marks)

    def load(self, state: State) -> None:
        self.place, self.held, self.opened, self.checked, contents, marks = state
        self.contents = list(contents)
        self.marks = bytearray(marks)

    # ---- what is visible

    def is_visible(self, r: int) -> bool:
        """Whether what ``r`` contains can be seen and reached by an agent beside it."""
        return not self.layout.openable[r] or bool(self.opened >> r & 1)

    def visible_objects(self) -> list[int]:
        """The objects in the receptacles at hand, as far as these are open."""
        return [o for r in self.layout.near[self.place] if self.is_visible(r) for o in self.contents[r]]

    def describe(self, r: int) -> str:
        """What a look into or onto a receptacle shows; it is then ``checked``."""
        layout = self.layout
        name = layout.receptacles[r]
        if layout.openable[r]:
            if not self.opened >> r & 1:
                return f"The {name} is closed."
            where = f"The {name} is open. In it"
        else:
            where = f"On the {name}"
        self.checked |= 1 << r
        a_object = layout.a_object
        return f"{where}, you see {listing([a_object[o] for o in self.contents[r]])}."

    def inventory(self) -> str:
        if self.held < 0:
            return "You are not carrying anything."
        return f"You are carrying: a {self.layout.objects[self.held]}."

    def look(self) -> str:
        """The surroundings. In the middle of the room official games list nothing from the second look on; here
        the list stays, as nothing else repeats it."""
        near = self.layout.near[self.place]
        if not near:
            return self.layout.intro
        return f"You are facing the {listing([self.layout.receptacles[r] for r in near])}. Next to it, you see nothing."

    # ---- acting

    def step(self, command: str) -> str | None:
        """The observation, or None where the command means nothing here: the state is then as it was."""
        if len(command) > LONGEST:
            return None
        words = command.lower().strip().removesuffix(".").split()
        match words:
            case ["look"]:
                return self.look()
            case ["inventory"]:
                return self.inventory()
            case ["help"]:
                return HELP
            case ["go", "to", kind, number]:
                return self._go(f"{kind} {number}")
            case ["open" | "close" | "examine" | "use" as verb, kind, number]:
                return self._act_on_one(verb, f"{kind} {number}")
            case [verb, kind, number, preposition, into, its_number]:
                if preposition not in _PREPOSITIONS.get(verb, ()):
                    return None
                o = self.layout.object_index.get(f"{kind} {number}")
                r = self.layout.receptacle_index.get(f"{into} {its_number}")
                if o is None or r is None or self.layout.locations[r] != self.place:
                    return None
                return self._act_on_two(verb, o, r)
        return None

    def _go(self, name: str) -> str | None:
        r = self.layout.receptacle_index.get(name)
        if r is None or self.layout.locations[r] == self.place:
            return None
        self.place = self.layout.locations[r]
        return f"You arrive at {name}. {self.describe(r)}"

    def _act_on_one(self, verb: str, name: str) -> str | None:
        layout = self.layout
        r = layout.receptacle_index.get(name)
        if r is not None:
            if layout.locations[r] != self.place:
                return None
            if verb == "examine":
                return self.describe(r)
            if verb == "use" or not layout.openable[r] or (verb == "open") == bool(self.opened >> r & 1):
                return None
            self.opened ^= 1 << r
            return f"You open the {name}. {self.describe(r)}" if verb == "open" else f"You close the {name}."
        o = layout.object_index.get(name)
        if o is None:
            return None
        if verb == "examine":  # as in the official games, an object is examined in the hand only
            return self._describe_object(o) if o == self.held else None
        if verb == "use" and layout.affords[o] & ON and o in self.visible_objects():
            self.marks[o] |= ON  # isToggled, like the feedback, stays true at a second use, as in the official domain
            return f"You turn on the {name}."
        return None

    def _act_on_two(self, verb: str, o: int, r: int) -> str | None:
        layout = self.layout
        name, at = layout.objects[o], layout.receptacles[r]
        if verb == "take":
            within_reach = o in self.contents[r] and self.is_visible(r)
            if self.held >= 0 or not within_reach or not layout.affords[o] & PICKUPABLE:
                return None
            self.contents[r] = tuple(i for i in self.contents[r] if i != o)
            self.held = o
            return f"You pick up the {name} from the {at}."
        if o != self.held:
            return None
        if verb in ("move", "put"):
            if not self.is_visible(r) or (layout.receptacle_types[r], layout.object_types[o]) not in layout.can_contain:
                return None
            self.contents[r] = tuple(sorted((*self.contents[r], o)))
            self.held = -1
            return f"You move the {name} to the {at}."
        mark = TREATMENTS[verb]
        if layout.receptacle_types[r] != STATIONS[verb] or not layout.affords[o] & mark:
            return None
        self.marks[o] = self.marks[o] & ~(HOT | COOL if mark != CLEAN else 0) | mark
        return f"You {verb} the {name} using the {at}."

    def _describe_object(self, o: int) -> str:
        name, marks, affords = self.layout.objects[o], self.marks[o], self.layout.affords[o]
        if affords & VESSEL:
            return f"This is a normal {name}. In it, you see nothing."
        if marks & CLEAN and marks & (HOT | COOL):
            return f"This is a {'hot' if marks & HOT else 'cool'} and clean {name}."
        for mark, word in ((HOT, "hot"), (CLEAN, "clean"), (COOL, "cold")):
            if marks & mark:
                return f"This is a {word} {name}."
        return f"There's nothing special about {name}."

    def admissible(self) -> list[str]:
        """Every command, ``help`` apart, that ``step`` would not refuse now, sorted."""
        layout = self.layout
        objects, affords, held = layout.objects, layout.affords, self.held
        found = layout.always[self.place].copy()
        if held >= 0:
            held_name = objects[held]
            found.append("examine " + held_name)
        for r in layout.near[self.place]:
            name = layout.receptacles[r]
            kind = layout.receptacle_types[r]
            found.append("examine " + name)
            visible = True
            if layout.openable[r]:
                visible = bool(self.opened >> r & 1)
                found.append(("close " if visible else "open ") + name)
            if visible:
                for o in self.contents[r]:
                    if held < 0 and affords[o] & PICKUPABLE:
                        found.append(f"take {objects[o]} from {name}")
                    if affords[o] & ON:
                        found.append("use " + objects[o])
            if held >= 0:
                if visible and (kind, layout.object_types[held]) in layout.can_contain:
                    found.append(f"move {held_name} to {name}")
                verb = _VERB_AT.get(kind)
                if verb is not None and affords[held] & TREATMENTS[verb]:
                    found.append(f"{verb} {held_name} with {name}")
        found.sort()
        return found

    # ---- the goal

    def solved(self) -> bool:
        layout = self.layout
        if layout.lamps:
            return self.held in layout.goal_objects and any(
                o in layout.lamps and self.marks[o] & ON for r in layout.near[self.place] for o in self.contents[r]
            )
        mark, goal_objects = layout.mark, layout.goal_objects
        for r in layout.goal_receptacles:
            found = 0
            for o in self.contents[r]:
                if o in goal_objects and self.marks[o] & mark == mark:
                    found += 1
            if found >= layout.wanted:
                return True
        return False

    def progress(self) -> float:
        """The share of the sub-goals reached now, below 1; the goal itself is the last one."""
        layout = self.layout
        holding = self.held in layout.goal_objects
        if layout.lamps:
            return (holding + any(self.marks[o] & ON for o in layout.lamps)) / 3
        if layout.mark:
            treated = any(self.marks[o] & layout.mark for o in layout.goal_objects)
            return max(holding, 2 * treated) / 3
        if layout.wanted == 2:
            placed = any(o in layout.goal_objects for r in layout.goal_receptacles for o in self.contents[r])
            return (holding + 2 * placed) / 4
        return holding / 2

    def seen_here(self) -> tuple[Any, ...]:
        """What the agent knows of its place and its hands, as plain data: nothing hidden is in it."""
        layout, marks = self.layout, self.marks
        here: list[tuple[Any, ...]] = []
        for r in layout.near[self.place]:
            if self.is_visible(r) and self.checked >> r & 1:
                here.append(
                    (layout.receptacles[r], "open", [(layout.objects[o], marks[o] & ON) for o in self.contents[r]])
                )
            else:
                here.append((layout.receptacles[r], "closed" if layout.openable[r] else "unknown"))
        return here, (layout.objects[self.held], marks[self.held]) if self.held >= 0 else None
