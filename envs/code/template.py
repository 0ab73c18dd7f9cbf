"""A template: a question about one kind of data files, and the program that answers it (``templates/KIND.yaml``).

Words with a dollar in question and program are drawn for each task, by ``DRAWS`` of its kind.
"""

from __future__ import annotations

import functools
import io
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template as Words
from typing import Any

import yaml

from agentrl.envs.code import data
from agentrl.seeds import derive


@dataclass(frozen=True, slots=True)
class Template:
    kind: str
    question: str
    program: str
    lines: int  # of the program, beside those that load the data


@dataclass(frozen=True, slots=True)
class Problem:
    """One task: the files it comes with and what is in them, the question, and a program that prints the answer."""

    files: dict[str, bytes]
    about: str
    question: str
    program: str

    def answer(self) -> str:
        """What the program prints, run on the files here and now. The program is ours, the files are memory."""
        lines: list[str] = []

        def opened(path: str) -> io.StringIO:
            return io.StringIO(self.files[path].decode())

        def printed(*values: Any) -> None:
            lines.append(" ".join(map(str, values)))

        exec(compile(self.program, "<program>", "exec"), {"open": opened, "print": printed})
        return "\n".join(lines)


@functools.cache
def templates() -> dict[str, Template]:
    """All of them by name, in a fixed order."""
    found = {}
    for path in sorted((Path(__file__).parent / "templates").glob("*.yaml")):
        file = yaml.safe_load(path.read_text(encoding="utf-8"))
        for name, made in file["templates"].items():
            program = file["load"] + made["program"]
            found[f"{path.stem}-{name}"] = Template(
                path.stem, made["question"].strip(), program, made["program"].strip().count("\n") + 1
            )
    return found


@functools.lru_cache(maxsize=256)
def problem(name: str, seed: int) -> Problem:
    """The same for the same arguments on every machine."""
    chosen = templates()[name]
    rng = random.Random(derive("code", name, seed))
    files, about = data.KINDS[chosen.kind](rng)
    words = DRAWS[chosen.kind](rng, about)
    told = " ".join((data.KINDS[chosen.kind].__doc__ or "").replace("``", "").split())
    return Problem(files, told, Words(chosen.question).substitute(words), Words(chosen.program).substitute(words))


def _order(rng: random.Random, _: Any) -> dict[str, Any]:
    return {"region": rng.choice(data.REGIONS), "month": f"2025-{rng.randint(1, 8):02}"}


def _service(rng: random.Random, _: Any) -> dict[str, Any]:
    return {"service": rng.choice(data.SERVICES), "percent": rng.choice((50, 75, 80, 90, 95))}


def _person(rng: random.Random, people: Any) -> dict[str, Any]:
    someone = rng.choice(people)
    return {"a": someone["name"], "city": someone["city"], "subject": rng.choice(data.SUBJECTS)}


def _words(rng: random.Random, lines: Any) -> dict[str, Any]:
    a, b = rng.sample(sorted({word for line in lines for word in line.split()}), 2)
    return {"a": a, "b": b, "k": rng.randint(2, 9), "n": rng.randint(2, 5)}


def _places(rng: random.Random, places: Any) -> dict[str, Any]:
    a, b, c = rng.sample(places, 3)
    return {"a": a, "b": b, "c": c, "km": rng.randint(20, 50)}


def _reader(rng: random.Random, loans: Any) -> dict[str, Any]:
    return {"reader": rng.choice(loans)[1]}


def _number(rng: random.Random, _: Any) -> dict[str, Any]:
    return {"k": rng.randint(3, 9), "target": rng.randint(3000, 7000), "modulus": rng.choice((997, 1009, 7919, 10007))}


DRAWS: dict[str, Callable[[random.Random, Any], dict[str, Any]]] = {
    "orders": _order, "log": _service, "people": _person, "text": _words, "digits": _number, "maze": _number,
    "roads": _places, "numbers": _number, "library": _reader,
}  # fmt: skip
