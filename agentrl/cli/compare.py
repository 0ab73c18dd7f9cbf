"""``agentrl compare``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def compare(
    a: Annotated[Path, typer.Argument(help="Run folder, folder of agentrl eval -o, or file of its --json.")],
    b: Annotated[Path, typer.Argument(help="The same, to compare with it.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Compare two policies on the same tasks: a paired test, and how many episodes would settle it.

    Examples:

        agentrl compare runs/a runs/b

        agentrl eval household-unseen -k 4 --json > a.json && agentrl compare a.json runs/b
    """
    from agentrl.evaluation.compare import compare as compared

    found = compared(a, b)
    typer.echo(json.dumps(found.plain()) if as_json else str(found))
