"""A repository with one mistake: its files, the tests that it comes with, and the cases that judge a repair."""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from agentrl.envs.code.data import WORDS
from agentrl.envs.ids import functions_of
from agentrl.envs.repair import cases as drawn
from agentrl.envs.repair.bugs import BUGS
from agentrl.seeds import derive

VISIBLE, SHOWN = 5, 2  # cases in the tests, and how many of them show the mistake
HIDDEN, JUDGED = 10, 4  # cases that judge, likewise
BESIDE = 2  # further modules, without mistakes
TEST = "tests/test_{module}.py"
CASES = functions_of(drawn)  # module -> what draws calls of its functions


Case = tuple[str, str]  # a call, and what it gives


@dataclass(frozen=True, slots=True)
class Repository:
    """``hidden``: expressions in terms of the module, and what they must give. ``old`` -> ``new`` repairs ``path``."""

    files: dict[str, str]
    path: str
    old: str
    new: str
    hidden: list[Case]

    @property
    def changed(self) -> int:
        """Words and signs that differ between what stands there and what should."""
        wrong, right = (re.findall(r"\w+|[^\w\s]", text) for text in (self.old, self.new))
        edits = SequenceMatcher(None, wrong, right, autojunk=False).get_opcodes()
        return sum(max(i - h, k - j) for what, h, i, j, k in edits if what != "equal")


def source(module: str) -> str:
    return (Path(__file__).parent / "sources" / f"{module}.txt").read_text(encoding="utf-8")


@functools.lru_cache(maxsize=256)
def repository(module: str, bug: str, seed: int) -> Repository:
    """The same for the same arguments on every machine: other names, other modules beside, other cases."""
    rng = random.Random(derive("repair", module, bug, seed))
    package, *words = rng.sample([word for word in WORDS if word not in CASES], 40)
    new, old = BUGS[module][bug]
    modules = [module, *rng.sample(sorted(set(CASES) - {module}), BESIDE)]
    names = {name: f"{name}_{word}" for name, word in zip(_functions(*modules), words, strict=False)}
    right, wrong = source(module), source(module).replace(new, old, 1)
    seen, hidden = _cases(module, right, wrong, rng)
    files = {f"{package}/__init__.py": ""}
    for other in modules:
        files[f"{package}/{other}.py"] = _renamed(wrong if other == module else source(other), names)
        cases = seen if other == module else _cases(other, source(other), source(other), rng)[0]
        files[TEST.format(module=other)] = _renamed(_test(package, other, cases), names)
    path = f"{package}/{module}.py"
    lines, mended = _edit(wrong, right)
    return Repository(
        dict(sorted(files.items())),
        path,
        _renamed(lines, names),
        _renamed(mended, names),
        [(_renamed(call, names), value) for call, value in hidden],
    )


def value_of(space: dict[str, Any], call: str) -> str:
    """What a call gives, or raises, as text."""
    try:
        return repr(eval(call, space))
    except Exception as error:
        return f"raises {type(error).__name__}"


def _cases(module: str, right: str, wrong: str, rng: random.Random) -> tuple[list[Case], list[Case]]:
    """Those that the tests hold, and those that judge; in both some show the mistake, where there is one."""
    good, bad = _run(right), _run(wrong)
    shows: list[Case] = []
    tells: list[Case] = []
    wanted = SHOWN + JUDGED if right != wrong else 0
    for _ in range(500):
        if len(shows) >= wanted and len(tells) >= VISIBLE + HIDDEN - wanted:
            break
        for call in CASES[module](rng):
            value = value_of(good, call)
            found = tells if value == value_of(bad, call) else shows
            if not value.startswith("raises ") and (call, value) not in found:
                found.append((call, value))
    if len(shows) < wanted:
        raise ValueError(f"too few cases show the mistake of {module}")
    seen = shows[:SHOWN] + tells[: VISIBLE - SHOWN]
    hidden = shows[SHOWN : SHOWN + JUDGED] + tells[VISIBLE - SHOWN : VISIBLE - SHOWN + HIDDEN - JUDGED]
    return rng.sample(seen, len(seen)), rng.sample(hidden, len(hidden))


@functools.cache
def _run(code: str) -> dict[str, Any]:
    """The functions of a module of our own, run here."""
    space: dict[str, Any] = {}
    exec(code, space)
    return space


def _test(package: str, module: str, cases: list[Case]) -> str:
    names = sorted({name for name in _functions(module) if any(call.startswith(name) for call, _ in cases)})
    lines = [f"from {package}.{module} import {', '.join(names)}"]
    for i, (call, value) in enumerate(cases, 1):
        lines += ["", "", f"def test_{i}():", f"    given = {call}", f"    assert given == {value}, given"]
    return "\n".join(lines) + "\n"


def _functions(*modules: str) -> list[str]:
    return [name for module in modules for name in re.findall(r"^(?:def|class) (\w+)", source(module), re.MULTILINE)]


def _renamed(text: str, names: dict[str, str]) -> str:
    return re.sub(r"\w+", lambda word: names.get(word[0], word[0]), text)


def _edit(old: str, new: str) -> tuple[str, str]:
    """The fewest whole lines that make ``new`` of ``old`` and stand in it once, and what takes their place."""
    a, b = old.splitlines(keepends=True), new.splitlines(keepends=True)
    start = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
    end = next(i for i, (x, y) in enumerate(zip(reversed(a), reversed(b), strict=False)) if x != y)
    end = min(end, len(a) - start, len(b) - start)
    while True:
        left, right = "".join(a[start : len(a) - end]), "".join(b[start : len(b) - end])
        if left and old.count(left) == 1:
            return left, right
        start = max(0, start - 1)
        end = end if start else max(0, end - 1)
