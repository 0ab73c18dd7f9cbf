"""``agentrl new`` and ``agentrl init``: small working files to change into one's own."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from agentrl.errors import UserError

app = typer.Typer(no_args_is_help=True, help="Write a small working environment, tool, estimator or loss.")


@dataclass(frozen=True)
class Names:
    """What templates call a thing: ``my_maze`` (MODULE), ``MyMaze`` (CLASS), ``my-maze`` (NAME)."""

    module: str

    @classmethod
    def of(cls, name: str) -> Names:
        module = name.replace("-", "_")
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", module) or keyword.iskeyword(module):
            raise UserError(f"{name!r} cannot name a Python file; use letters, digits and _")
        return cls(module)

    @property
    def title(self) -> str:
        return "".join(part[:1].upper() + part[1:] for part in self.module.split("_"))

    def fill(self, template: str) -> str:
        text = (resources.files("agentrl") / "templates" / f"{template}.txt").read_text(encoding="utf-8")
        text = text.replace("CLASS", self.title).replace("MODULE", self.module)
        return text.replace("NAME", self.module.replace("_", "-"))


Name = Annotated[str, typer.Argument(help="What to call it; maze gives maze.py and test_maze.py.")]


@app.command()
def env(name: Name) -> None:
    """Write NAME.py with a small working environment, and test_NAME.py.

    agentrl new env maze && agentrl envs check maze.py:Maze-v0
    """
    names = Names.of(name)
    _write(Path(), _with_test("env", names))
    typer.echo(f"check it:  agentrl envs check {names.module}.py:{names.title}-v0")
    typer.echo(f"play it:   agentrl play {names.module}.py:{names.title}-v0")


@app.command()
def tool(name: Name) -> None:
    """Write NAME.py with a tool that environments can offer, and test_NAME.py.

    agentrl new tool convert && python -m pytest test_convert.py
    """
    _write(Path(), _with_test("tool", Names.of(name)))


@app.command()
def estimator(name: Name) -> None:
    """Write NAME.py with a credit estimator, and test_NAME.py.

    agentrl new estimator later-more && agentrl credit apply runs/last --plugin later_more.py --estimator later-more
    """
    _write(Path(), _with_test("estimator", Names.of(name)))


@app.command()
def loss(name: Name) -> None:
    """Write NAME.py with a policy loss, and test_NAME.py.

    agentrl new loss soft-step && agentrl losses list --plugin soft_step.py
    """
    _write(Path(), _with_test("loss", Names.of(name)))


def init(folder: Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder to make.")]) -> None:
    """Make a project: environment, tool, estimator, recipe, suite and tests, all working.

    agentrl init my-project && cd my-project && python -m pytest
    """
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty; choose another folder")
    names = Names.of(folder.resolve().name)
    if names.module in ("convert", "later_more", "project"):
        raise UserError(f"{folder.name!r} is the name of a file in the project; choose another")
    files = {
        **_with_test("env", names),
        **_with_test("tool", Names("convert")),
        **_with_test("estimator", Names("later_more")),
        **{name: names.fill(name) for name in ("recipe.yaml", "suite.yaml", "pyproject.toml", "README.md")},
        "test_project.py": names.fill("test_project.py"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder, files)
    typer.echo(f"next: cd {folder} && python -m pytest")


def _with_test(kind: str, names: Names) -> dict[str, str]:
    return {
        f"{names.module}.py": names.fill(f"{kind}.py"),
        f"test_{names.module}.py": names.fill(f"test_{kind}.py"),
    }


def _write(folder: Path, files: dict[str, str]) -> None:
    for name in files:
        if (folder / name).exists():
            raise UserError(f"{folder / name} exists already")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    typer.echo(f"wrote {', '.join(str(folder / name) for name in files)}")
