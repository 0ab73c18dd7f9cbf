"""``agentrl losses``: what an update can minimise."""

from __future__ import annotations

import json

import typer

from agentrl.cli.options import AsJson, Plugins, load_plugins

app = typer.Typer(no_args_is_help=True, help="Losses: list what there is, with formula, source and parity.")


@app.callback()
def _group() -> None:
    """Losses: a recipe takes a policy loss, corrections and terms."""


@app.command("list")
def list_(
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """List policy losses, corrections and terms.

    In a recipe: loss: {policy: {gspo: {high: 4e-4}}, corrections: [tis], terms: [{kl: {weight: 0.01}}]}

    agentrl losses list --json
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from agentrl.trainers.losses.listing import describe

    load_plugins(plugin)
    rows = describe()
    if as_json:
        return typer.echo(json.dumps(rows, indent=2, default=str))
    table = Table("id", "kind", "formula", "source", "parity", box=None)
    for row in rows:
        table.add_row(*(escape(str(row[key])) for key in ("id", "kind", "formula", "source", "parity")))
    Console().print(table)
