"""``agentrl new env``: a small working environment in one file, to change into one's own."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from agentrl.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Write a small working environment to start from.")

_ENV = '''"""CLASS: find the way through a small maze and take the treasure."""

import random
from collections import deque
from typing import Literal

import agentrl as ar

SIZE = 4
MOVES = {"north": (-1, 0), "south": (1, 0), "west": (0, -1), "east": (0, 1)}
Direction = Literal["north", "south", "west", "east"]
Cell = tuple[int, int]


# A task id fixes the maze, so train and unseen must not share ids. An episode ends after max_turns turns.
@ar.register("CLASS-v0", splits={"train": range(1000), "unseen": range(1000, 1200)}, max_turns=24)
class CLASS(ar.ToolEnv):
    """You are in a maze drawn from above, north is up. Walk from S to T, then take the treasure."""

    # A new episode: set plain attributes, return the first message. Chance during the episode comes from rng.
    def start(self, task: int, rng: random.Random) -> str:
        self.doors = carve(random.Random(task))
        self.cell: Cell = (0, 0)
        self.treasure = max(self.distances((0, 0)).items(), key=lambda item: item[1])[0]
        return self.drawing()

    # The signature and the docstring are what the agent is told about a tool.
    @ar.tool
    def move(self, direction: Direction) -> str:
        """Go to the next room."""
        if (self.cell, direction) not in self.doors:
            return "There is a wall."
        self.cell = step(self.cell, direction)
        if self.cell == self.treasure:
            return "The treasure is here."
        return "You are in row {}, column {}.".format(*self.cell)

    # A final tool ends the episode and returns its reward, from 0 to 1.
    @ar.tool(final=True)
    def take(self) -> float:
        """Take the treasure. It ends the game, so be sure to stand on it."""
        return float(self.cell == self.treasure)

    # Optional: turns of one task with the same key are compared with each other in training.
    def state_key(self) -> Cell:
        return self.cell

    # Optional: a next action that leads to success, from what the player knows. It gives checks and demonstrations.
    def expert(self) -> ar.ToolCall:
        away = self.distances(self.treasure)
        if away[self.cell] == 0:
            return ar.ToolCall("take")
        ways = [d for d in MOVES if (self.cell, d) in self.doors]
        return ar.ToolCall("move", direction=min(ways, key=lambda d: away[step(self.cell, d)]))

    def distances(self, start: Cell) -> dict[Cell, int]:
        """Steps from ``start`` to every room."""
        found, queue = {start: 0}, deque([start])
        while queue:
            cell = queue.popleft()
            for direction in MOVES:
                there = step(cell, direction)
                if (cell, direction) in self.doors and there not in found:
                    found[there] = found[cell] + 1
                    queue.append(there)
        return found

    def drawing(self) -> str:
        lines = ["+" + "--+" * SIZE]
        for row in range(SIZE):
            body, floor = "|", "+"
            for column in range(SIZE):
                cell = row, column
                body += {(0, 0): "S ", self.treasure: "T "}.get(cell, "  ")
                body += " " if (cell, "east") in self.doors else "|"
                floor += ("  " if (cell, "south") in self.doors else "--") + "+"
            lines += [body, floor]
        return "\\n".join(lines)


def step(cell: Cell, direction: str) -> Cell:
    return cell[0] + MOVES[direction][0], cell[1] + MOVES[direction][1]


def carve(rng: random.Random) -> set[tuple[Cell, str]]:
    """A maze with one way between any two rooms: the doors, from both sides."""
    doors: set[tuple[Cell, str]] = set()
    visited, path = {(0, 0)}, [(0, 0)]
    while path:
        cell = path[-1]
        ways = [d for d in MOVES if step(cell, d) not in visited and all(0 <= x < SIZE for x in step(cell, d))]
        if not ways:
            path.pop()
            continue
        way = rng.choice(ways)
        there = step(cell, way)
        back = {"north": "south", "south": "north", "west": "east", "east": "west"}[way]
        doors |= {(cell, way), (there, back)}
        visited.add(there)
        path.append(there)
    return doors
'''

_TEST = """from pathlib import Path

import agentrl as ar


def test_contract() -> None:
    report = ar.check(f"{Path(__file__).with_name('FILE')}:CLASS-v0")
    assert report.ok, report
"""


@app.callback()
def _group() -> None:
    """Write a small working environment to start from."""


@app.command()
def env(name: Annotated[str, typer.Argument(help="What to call it; maze gives maze.py with Maze-v0.")]) -> None:
    """Write NAME.py with a small working environment, and test_NAME.py.

    agentrl new env maze && agentrl envs check maze.py:Maze-v0
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", module) or keyword.iskeyword(module):
        raise UserError(f"{name!r} cannot name a Python file; use letters, digits and _")
    title = "".join(part[:1].upper() + part[1:] for part in module.split("_"))
    files = {Path(f"{module}.py"): _ENV, Path(f"test_{module}.py"): _TEST}
    for path in files:
        if path.exists():
            raise UserError(f"{path} exists already")
    for path, text in files.items():
        path.write_text(text.replace("CLASS", title).replace("FILE", f"{module}.py"), encoding="utf-8")
    typer.echo(f"wrote {' and '.join(map(str, files))}")
    typer.echo(f"check it:  agentrl envs check {module}.py:{title}-v0")
    typer.echo(f"play it:   agentrl play {module}.py:{title}-v0")
