"""``agentrl replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentrl.cli.options import AsJson, Plugins


def replay(
    run: Annotated[Path, typer.Argument(help="Run folder, or folder or file of trajectories.")],
    trajectory: Annotated[
        list[str] | None, typer.Option(help="Id of a stored episode; may be repeated. Default: all.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Take the actions of stored episodes again and say where the environment first differs from what is stored.

    Ends with code 1 where one differs. Episodes that infrastructure broke are replayed up to where it did.

    Examples:

        agentrl replay runs/last --trajectory 000003-002-005

        agentrl replay demos/ --json
    """
    import json

    from agentrl import api

    same = differ = 0
    for t, difference in api.replay(run, trajectory, plugin=plugin or ()):
        same, differ = same + (difference is None), differ + (difference is not None)
        if as_json:
            told = (
                None if difference is None else {k: getattr(difference, k) for k in ("turn", "what", "stored", "found")}
            )
            typer.echo(json.dumps({"id": t.id, "turns": len(t.turns), "difference": told}, default=str))
        elif difference is not None:
            typer.echo(f"{t.id}: {difference}")
        elif trajectory:
            typer.echo(f"{t.id}: {len(t.turns)} turns, as stored")
    if not as_json:
        typer.echo(f"{same} of {same + differ} episodes as stored")
    if differ:
        raise typer.Exit(1)
