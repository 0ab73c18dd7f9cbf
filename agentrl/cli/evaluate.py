"""``agentrl eval``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentrl.errors import UserError


def evaluate(
    suite: Annotated[str, typer.Argument(help="Suite, or [FILE.py:]ENV[:SPLIT] (unseen by default).")],
    policy: Annotated[str, typer.Option(help="Bundled name, folder, run, hub name, expert, random, idle.")] = "small",
    k: Annotated[int | None, typer.Option("-k", min=1, help="Attempts a task.")] = None,
    first: Annotated[int | None, typer.Option("--first", min=1, help="Only the first tasks.")] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that hold the environments.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    allow_train: Annotated[bool, typer.Option(help="Permit training ids.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Store episodes here; run again to resume.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    plugin: Annotated[list[str] | None, typer.Option(help="File or package to import first.")] = None,
) -> None:
    """Measure a policy's success, with 95% intervals, by task type.

    Examples:

        agentrl eval household-unseen --policy small

        agentrl eval household-unseen --policy runs/last -k 4 --json > a.json

        agentrl eval guess.py:Guess-v0:unseen --policy expert
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from agentrl import api
    from agentrl.envs import plugins

    for path in plugin or ():
        plugins.load(path)
    errors = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task("episodes", total=None)
        report = api.evaluate(
            suite,
            policy,
            k,
            limit=first,
            workers=workers,
            seed=seed,
            allow_train=allow_train,
            out=out,
            on_done=lambda trajectory, total: bar.update(task, advance=1, total=total),
        )
    if as_json:
        print(json.dumps(report.plain()))
    else:
        _show(report)
    if not report.overall.episodes:
        raise UserError(f"no episode could be used: {report.stops}")


def _show(report: object) -> None:
    from rich.console import Console
    from rich.table import Table

    from agentrl.evaluation.evaluate import Report

    assert isinstance(report, Report)
    table = Table(title=f"{report.policy} on {report.suite}")
    for name in ("task type", "success", "95% interval", "episodes"):
        table.add_column(name, justify="left" if name == "task type" else "right")
    for name, rate in {**report.by_type, "all": report.overall}.items():
        interval = f"{rate.ci_low:.1%} – {rate.ci_high:.1%}"
        table.add_row(name, f"{rate.success:.1%}", interval, str(rate.episodes), style="bold" if name == "all" else "")
    console = Console()
    console.print(table)
    stops = ", ".join(f"{name} {count}" for name, count in report.stops.items())
    console.print(
        f"{report.turns:.1f} turns and {report.tokens:.0f} sampled tokens an episode; ended by: {stops}",
        highlight=False,
    )
    if report.failed:
        console.print(f"[red]{report.failed} episodes failed for reasons of infrastructure and are not counted[/red]")
