"""``agentrl envs``: list, show and check environments, and add one's own to a project."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentrl.cli.options import AsJson, Plugins, load_plugins
from agentrl.envs import plugins, registry
from agentrl.envs.check import check as check_env
from agentrl.envs.core import Admissible, Expert
from agentrl.errors import UserError
from agentrl.types import grouped, words_of

app = typer.Typer(no_args_is_help=True, help="List, show and check environments; add your own.")

Name = Annotated[str, typer.Argument(metavar="ENV", help="[FILE.py:]ID[:SPLIT], as guess.py:Guess-v0.")]


@app.command("list")
def list_(
    plugin: Plugins = None,
    whole: Annotated[bool, typer.Option("--all", help="Every member of a family on a line of its own.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the environments: bundled, installed, and those of this project.

    agentrl envs list --plugin guess.py
    """
    load_plugins(plugin)
    specs = registry.listed()
    rows = [_row(spec) for spec in specs] if whole or as_json else _folded(specs)
    if as_json:
        return typer.echo(json.dumps(rows, indent=2))
    table = Table("environment", "tasks", "turns", "from", box=None)
    for row in rows:
        table.add_row(row["id"], _tasks(row), str(row["max_turns"]), row["source"])
    Console().print(table)


@app.command()
def show(name: Name, plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Show what an agent is told and may do, and how a first task begins.

    agentrl envs show agentrl/Household-v0
    """
    load_plugins(plugin)
    at = registry.resolve(name)
    env = registry.make(name)
    task = registry.split(at.spec, at.split or next(iter(registry.splits(at.spec))))[0]
    observation, _ = env.reset(seed=0, options={"task": task})
    shown = {
        **_row(at.spec),
        "instructions": env.instructions,
        "tools": list(env.tools),
        "snapshots": env.snapshot_level,
        "expert": isinstance(env, Expert),
        "admissible_actions": isinstance(env, Admissible),
        "task": task,
        "observation": observation,
    }
    env.close()
    if as_json:
        return typer.echo(json.dumps(shown, indent=2))
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    shown["tasks"] = _tasks(shown)
    for key in ("id", "source", "tasks", "max_turns", "snapshots", "expert", "admissible_actions", "instructions"):
        table.add_row(key.replace("_", " "), escape(str(shown[key])))
    for schema in env.tools:
        table.add_row("tool", escape(json.dumps(schema["function"])))
    table.add_row(f"task {task}", escape(words_of(observation)))
    Console().print(table)


@app.command()
def check(
    name: Name,
    episodes: Annotated[int, typer.Option(min=3, help="Episodes of each kind.")] = 20,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Check that an environment keeps the contract of training and evaluation. Exit code 1 where it does not.

    agentrl envs check guess.py:Guess-v0
    """
    load_plugins(plugin)
    report = check_env(name, episodes=episodes)
    typer.echo(json.dumps(report.to_dict(), indent=2)) if as_json else Console().print(report)
    raise typer.Exit(0 if report.ok else 1)


@app.command()
def add(
    plugin: Annotated[str, typer.Argument(metavar="PATH|PACKAGE", help="What registers the environments.")],
) -> None:
    """Make a file's or a package's environments known in this project, and check them.

    It is written into \\[tool.agentrl] plugins of the pyproject.toml in the current folder.

    agentrl envs add guess.py
    """
    module = plugins.load(plugin)
    specs = [spec for spec in registry.listed() if _registered_by(spec, module.__name__, module.__file__)]
    if not specs:
        raise UserError(f"{plugin} registers no environment")
    project = Path("pyproject.toml")
    entry = Path(plugin).as_posix() if Path(plugin).exists() else plugin
    console = Console()
    console.print(f"{project}: {'added' if declare(project, entry) else 'already has'} {entry}", markup=False)
    reports = [check_env(spec.id) for spec in specs]
    for report in reports:
        console.print(report)
    raise typer.Exit(0 if all(report.ok for report in reports) else 1)


def declare(project: Path, entry: str) -> bool:
    """Write a plug-in into ``[tool.agentrl] plugins``, leaving the rest of the file as it is. False: it is there."""
    text = project.read_text(encoding="utf-8") if project.exists() else ""
    old = plugins.declared(project) if text else []
    if entry in old:
        return False
    line = f"plugins = {json.dumps([*old, entry], ensure_ascii=False)}"
    header = re.search(r"(?m)^\[tool\.agentrl\][^\n]*\n?", text)
    if header is None:
        new = f"{text.rstrip()}\n\n[tool.agentrl]\n{line}\n".lstrip()
    else:
        head, rest = text[: header.end()].rstrip("\n") + "\n", text[header.end() :]
        following = re.search(r"(?m)^\[", rest)
        section = rest[: following.start()] if following else rest
        found = re.search(r"(?ms)^plugins\s*=\s*\[.*?\]", section)
        new = head + (f"{line}\n{rest}" if found is None else rest[: found.start()] + line + rest[found.end() :])
    if not _differs_only_by(text, new, [*old, entry]):
        raise UserError(
            f"{project}: add {json.dumps(entry)} to plugins under [tool.agentrl] by hand, its layout is unusual"
        )
    project.write_text(new, encoding="utf-8")
    return True


def _differs_only_by(old: str, new: str, entries: list[str]) -> bool:
    expected = tomllib.loads(old)
    expected.setdefault("tool", {}).setdefault("agentrl", {})["plugins"] = entries
    try:
        return tomllib.loads(new) == expected
    except tomllib.TOMLDecodeError:
        return False


def _registered_by(spec: registry.EnvSpec, module: str, file: str | None) -> bool:
    at = spec.target.partition(":")[0]
    return spec.source == file or at == module or at.startswith(module + ".")


def _row(spec: registry.EnvSpec) -> dict[str, Any]:
    try:
        sizes: dict[str, int] | str = {name: len(tasks) for name, tasks in registry.splits(spec).items()}
    except UserError as error:  # a missing dependency: the name stays in the list
        sizes = str(error)
    bundled = spec.target.startswith("agentrl.")
    return {"id": spec.id, "tasks": sizes, "max_turns": spec.max_turns, "source": "bundled" if bundled else spec.source}


def _folded(specs: list[registry.EnvSpec]) -> list[dict[str, Any]]:
    """Environments that differ in one argument, which their names tell, in one row: ``MiniWoB-<page>-v0 (134)``."""
    return [
        _row(some[0]) | ({"id": f"{name} ({len(some)})"} if len(some) > 1 else {"id": some[0].id})
        for name, some in grouped(specs, _family).items()
    ]


def _family(spec: registry.EnvSpec) -> str:
    told = {key: value for key, value in spec.kwargs.items() if f"-{value}-v" in spec.id}
    if len(told) != 1:
        return spec.id
    [(key, value)] = told.items()
    return spec.id.replace(f"-{value}-v", f"-<{key}>-v")


def _tasks(row: dict[str, Any]) -> str:
    tasks = row["tasks"]
    return tasks if isinstance(tasks, str) else ", ".join(f"{name} {n}" for name, n in tasks.items())
