"""``agentrl credit``: which turn earned what, from stored trajectories alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Credit assignment on stored trajectories: list, apply, compare, explain.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


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
