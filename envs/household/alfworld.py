"""Official ALFWorld game files (``game.tw-pddl``) as layouts.

A game file is JSON with the fields ``pddl_domain``, ``grammar``, ``pddl_problem`` and ``walkthrough``. The problem's
facts give the layout, its goal gives the task type, and the grammar gives the task's sentence. The domain is not read:
its actions are what the engine implements. Slicing and movable receptacles are left out, as in ALFWorld.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from agentrl.envs.household.layout import Goal, Layout
from agentrl.envs.household.world import CLEAN, COOL, HOT, LOOK, ON, PICKUPABLE, TREATMENT_OF, TWO, VESSEL
from agentrl.errors import UserError

Expression = str | list["Expression"]
Facts = dict[str, list[tuple[str, ...]]]

_TOKEN = re.compile(r";[^\n]*|[()]|[^\s();]+")
_SENTENCE = re.compile(r"Your task is to: ([^\"\\]+)")
_BITS = {
    "cleanable": CLEAN,
    "heatable": HOT,
    "coolable": COOL,
    "toggleable": ON,
    "pickupable": PICKUPABLE,
    "isreceptacleobject": VESSEL,
}
_MARKS = {"isclean": "clean", "ishot": "heat", "iscool": "cool"}
_TURNS = 50


def load(path: str | PathLike[str]) -> Layout:
    """The layout of a game file; a :class:`UserError` says what is wrong with one that cannot be played."""
    try:
        game = json.loads(Path(path).read_text("utf-8"))
        problem, grammar = str(game["pddl_problem"]), str(game.get("grammar", ""))
    except OSError as error:
        raise UserError(f"cannot read the ALFWorld game {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path} is no ALFWorld game: JSON with a field pddl_problem is expected") from None
    try:
        sections = {str(part[0]): part[1:] for part in read(problem)[1:] if isinstance(part, list) and part}
        names = _names([word for word in sections[":objects"] if isinstance(word, str)])
        return _layout(names, _facts(sections[":init"]), _goal(sections[":goal"], grammar))
    except (ValueError, LookupError) as error:
        raise UserError(f"{path} holds no household that can be played: {error}") from None


def read(text: str) -> list[Expression]:
    """The one s-expression in a PDDL text, in lower case, comments dropped."""
    stack: list[list[Expression]] = [[]]
    for token in _TOKEN.findall(text.lower()):
        if token == "(":
            stack.append([])
        elif token == ")":
            if len(stack) == 1:
                raise ValueError("a bracket too many")
            done = stack.pop()
            stack[-1].append(done)
        elif not token.startswith(";"):
            stack[-1].append(token)
    if len(stack) != 1 or len(stack[0]) != 1 or not isinstance(stack[0][0], list):
        raise ValueError("its brackets do not match")
    return stack[0][0]


def _names(ids: list[str]) -> dict[str, str]:
    """``cabinet_bar__plus_01...`` -> ``cabinet 2``: numbered within a type, downwards in the order of the ids."""
    kinds = {}
    for name in sorted(set(ids)):
        kind, bar, _ = name.partition("_bar_")
        if bar:
            kinds[name] = f"{kind}basin" if "basin" in name and not kind.endswith("basin") else kind
    left: dict[str, int] = defaultdict(int)
    for kind in kinds.values():
        left[kind] += 1
    names = {}
    for name, kind in kinds.items():
        names[name] = f"{kind} {left[kind]}"
        left[kind] -= 1
    return names


def _facts(init: Sequence[Expression]) -> Facts:
    facts: Facts = defaultdict(list)
    for fact in init:
        if isinstance(fact, list) and all(isinstance(word, str) for word in fact):
            predicate, *arguments = map(str, fact)
            facts[predicate].append(tuple(arguments))
    return facts


def _literals(goal: Sequence[Expression]) -> Iterator[list[Expression]]:
    """The literals of a goal, a negated one whole."""
    for part in goal:
        if isinstance(part, list) and part:
            if part[0] in ("forall", "or", "when", "imply"):
                raise ValueError(f"its goal uses {part[0]}")
            if part[0] in ("and", "exists"):
                yield from _literals(part[1:])
            elif not any(word == "-" for word in part):  # a list of typed variables is no literal
                yield part


def _goal(goal: list[Expression], grammar: str) -> Goal:
    literals = list(_literals(goal))
    facts = _facts(literals)
    wrong = facts.keys() & {"issliced", "inreceptacleobject"}
    if wrong:
        raise ValueError(f"its goal uses {wrong.pop()}")
    types = {variable: _type(kind) for variable, kind in facts["objecttype"]}
    sentence = _SENTENCE.search(grammar)
    lamps = {variable for (variable,) in facts["istoggled"]}
    things = {kind for variable, kind in types.items() if variable not in lamps}
    targets = {types[lamp] for lamp in lamps} or {_type(kind) for _, kind in facts["receptacletype"]}
    if len(things) != 1 or len(targets) != 1:
        raise ValueError("its goal names no single object type and target type")
    thing, target = things.pop(), targets.pop()
    verbs = [verb for mark, verb in _MARKS.items() if facts[mark]]
    if lamps:
        kind = LOOK
    elif verbs:
        kind = next(kind for kind, verb in TREATMENT_OF.items() if verb == verbs[0])
    else:
        kind = TWO if any(part[0] == "not" for part in literals) else "pick_and_place_simple"
    return Goal(kind, thing, target, sentence[1].strip() if sentence else f"{kind}: {thing}, {target}.")


def _type(name: str) -> str:
    return name.removesuffix("type")


def _layout(names: dict[str, str], facts: Facts, goal: Goal) -> Layout:
    kinds = {r: _type(kind) for r, kind in facts["receptacletype"]}
    location_of = {r: place for r, place in facts["receptacleatlocation"]}
    receptacles = sorted(r for r in kinds if r in location_of)
    index = {r: i for i, r in enumerate(receptacles)}
    inside = {o: index[r] for o, r in facts["inreceptacle"] if r in index}
    types = {o: _type(kind) for o, kind in facts["objecttype"]}
    objects = sorted(o for o in types if o in inside)
    places = {place: i for i, place in enumerate(sorted({*location_of.values(), *(p for _, p in facts["atlocation"])}))}
    openable, opened = {r for (r,) in facts["openable"]}, {r for (r,) in facts["opened"]}
    able = {predicate: {o for (o,) in facts[predicate]} for predicate in _BITS}
    contents: list[list[int]] = [[] for _ in receptacles]
    for i, o in enumerate(objects):
        contents[inside[o]].append(i)
    return Layout(
        receptacles=tuple(names[r] for r in receptacles),
        receptacle_types=tuple(kinds[r] for r in receptacles),
        openable=tuple(r in openable for r in receptacles),
        opened=tuple(r in opened for r in receptacles),
        locations=tuple(places[location_of[r]] for r in receptacles),
        start=places[facts["atlocation"][0][1]],
        objects=tuple(names[o] for o in objects),
        object_types=tuple(types[o] for o in objects),
        affords=tuple(sum(bit for predicate, bit in _BITS.items() if o in able[predicate]) for o in objects),
        contents=tuple(map(tuple, contents)),
        can_contain=frozenset((_type(r), _type(o)) for r, o in facts["cancontain"]),
        goal=goal,
        limit=_TURNS,
    )
