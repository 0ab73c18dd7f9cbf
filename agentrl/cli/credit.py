"""``agentrl credit``: which turn earned what, from stored trajectories alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from agentrl.trainers.credit.choose import Chosen

app = typer.Typer(no_args_is_help=True, help="Credit assignment on stored trajectories: list, apply, compare, explain.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="Run folder, Parquet file or folder, or JSON lines.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Option of the methods: gamma=0.9, or for one: hgpo.gamma=0.9.")
]
Preset = Annotated[str | None, typer.Option(help="parity: the settings of the published code.")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", help="File or package to import first.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

SHOWN = 20  # trajectories that a table for people shows


@app.command("list")
def list_(plugin: Plugins = None, as_json: AsJson = False) -> None:
    """List the transforms, estimators and modulators: what each computes, needs, and where it comes from.

    agentrl credit list --json
    """
    from rich.console import Console
    from rich.table import Table

    from agentrl.trainers.credit.choose import describe

    _load(plugin)
    rows = describe()
    if as_json:
        return typer.echo(json.dumps(rows, indent=2, default=str))
    table = Table("id", "kind", "needs", "formula", "source", box=None)
    for row in rows:
        needs = ", ".join(row["needs"])
        table.add_row(row["id"], row["kind"], needs, _plain(row["formula"]), _plain(row["source"]))
    Console().print(table)


@app.command()
def apply(
    file: File,
    estimator: Annotated[
        str | None, typer.Option(help="ID[,ID]: estimators are added up. Default: the run's own, else grpo.")
    ] = None,
    set_: Set = None,
    preset: Preset = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Give each turn of stored trajectories an advantage. With --json, a line a trajectory.

    agentrl credit apply runs/last --estimator invalid-penalty,gigpo --set gamma=0.9 --json
    """
    from rich.console import Console
    from rich.table import Table

    from agentrl.trainers.credit.batches import batches, credited

    _load(plugin)
    chosen = _chosen(file, estimator, set_, preset)
    given = list(credited(batches(file), chosen.rewards, chosen.credit))
    if as_json:
        for batch, credit in given:
            excluded = credit.table.excluded
            for id in batch.ids:
                line = {"excluded": excluded[id]} if id in excluded else {"advantages": credit.of(id).tolist()}
                typer.echo(json.dumps({"id": id, **line}))
        return
    rows = [(credit, id) for batch, credit in given for id in batch.ids]
    table = Table("trajectory", "outcome", "advantage of each turn", box=None)
    for credit, id in rows[:SHOWN]:
        if id in credit.table.excluded:
            table.add_row(_plain(id), "-", f"left out: {credit.table.excluded[id]}")
            continue
        outcome = credit.table.outcome[credit.table.trajectory[credit.table.rows(id).start]]
        table.add_row(_plain(id), f"{outcome:g}", " ".join(f"{a:+.2f}" for a in credit.of(id)))
    console = Console()
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"... and {len(rows) - SHOWN} more; --json prints all", style="dim")


@app.command()
def conformance(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of numeric cases.")],
    as_json: AsJson = False,
) -> None:
    """Check numeric cases against the functions that training uses. Exit code 1 where one fails.

    agentrl credit conformance tests/cases/*.json
    """
    from agentrl.trainers.credit.conformance import run

    outcomes = [outcome for file in files for outcome in run(file)]
    failures = [outcome for outcome in outcomes if outcome.problem]
    passed = len(outcomes) - len(failures)
    if as_json:
        lines = [{"file": o.file, "id": o.id, "problem": o.problem} for o in failures]
        typer.echo(json.dumps({"passed": passed, "failed": len(failures), "failures": lines}))
    else:
        for outcome in failures:
            typer.echo(outcome.line)
        typer.echo(f"{passed} passed, {len(failures)} failed")
    raise typer.Exit(1 if failures else 0)


def _chosen(file: Path, ids: str | None, changes: list[str] | None, preset: str | None) -> Chosen:
    from agentrl.cli.collect import keywords
    from agentrl.errors import UserError
    from agentrl.trainers.credit.batches import recipe_of
    from agentrl.trainers.credit.choose import Chosen, choose, split

    recipe: dict[str, Any] = recipe_of(file) if ids is None else {}
    if "credit" in recipe:
        if changes or preset:
            raise UserError("--set and --preset need the methods to be named; without, the run's own recipe holds")
        return Chosen(tuple(recipe.get("rewards") or ()), tuple(recipe["credit"]))
    return choose(split(ids if ids is not None else "grpo"), keywords(changes or []), preset)


def _load(paths: list[str] | None) -> None:
    from agentrl.envs import plugins

    for path in paths or ():
        plugins.load(path)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
