"""``agentrl eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from agentrl.cli.options import Engine, EnvSet, Plugins, keywords, load_plugins
from agentrl.errors import UserError

if TYPE_CHECKING:
    from agentrl.evaluation.report import Report


def evaluate(
    suite: Annotated[
        str | None, typer.Argument(help="Suite, or [FILE.py:]ENV[:SPLIT] (unseen by default). None: list the suites.")
    ] = None,
    policy: Annotated[str, typer.Option(help="Bundled name, folder, run, hub name, expert, random, idle.")] = "small",
    engine: Engine = "transformers",
    k: Annotated[int | None, typer.Option("-k", min=1, help="Attempts a task.")] = None,
    first: Annotated[int | None, typer.Option("--first", min=1, help="Only the first tasks.")] = None,
    set_: EnvSet = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that hold the environments.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    allow_train: Annotated[bool, typer.Option(help="Permit training ids.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Store episodes here; run again to resume.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV and nothing else.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown and nothing else.")] = False,
    plugin: Plugins = None,
) -> None:
    """Measure a policy's success, with 95% intervals, by task type. Without a suite: list the suites.

    Examples:

        agentrl eval household-unseen --policy small

        agentrl eval household-unseen --policy runs/last -k 4 --json > a.json

        agentrl eval household-unseen -k 8 -o results/small

        agentrl eval guess.py:Guess-v0:unseen --policy expert

        agentrl eval agentrl/Household-v0 --set size=full --policy random
    """
    from agentrl import api
    from agentrl.cli.bar import Bar

    load_plugins(plugin)
    if suite is None:
        return _suites()
    if as_json + as_csv + as_markdown > 1:
        raise UserError("choose one of --json, --csv and --markdown")
    with Bar("episodes") as bar:
        report = api.evaluate(
            suite,
            policy,
            k,
            limit=first,
            workers=workers,
            seed=seed,
            allow_train=allow_train,
            kwargs=keywords(set_),
            out=out,
            on_done=lambda trajectory, total: bar.update(advance=1, total=total),
            engine=engine,
        )
    if first and not report.failed and len(report.tasks) < first:
        typer.echo(f"{report.suite} has {len(report.tasks)} tasks, not {first}", err=True)
    if as_json:
        print(report.json())
    elif as_csv:
        print(report.csv(), end="")
    elif as_markdown:
        print(report.markdown(), end="")
    else:
        _show(report)
    if not report.overall.episodes:
        raise UserError(f"no episode could be used: {report.stops}")


def _show(report: Report) -> None:
    console = Console()
    console.print(report)
    if len(report.pass_at) > 1:
        table = Table("k", "pass@k", "pass^k", box=None)
        for k, mean in report.pass_at.items():
            pair = (mean, report.pass_hat[k])
            table.add_row(str(k), *(f"{m.mean:.1%} [{m.ci_low or 0:.1%}, {m.ci_high or 1:.1%}]" for m in pair))
        console.print(table)
    stops = ", ".join(f"{name} {count}" for name, count in report.stops.items())
    console.print(
        f"{report.turns:.1f} turns and {report.tokens:.0f} sampled tokens an episode; ended by: {stops}",
        highlight=False,
    )
    if report.productivity is not None:
        calls, cost = report.measures["tool_calls"].mean, report.measures["cost"].mean
        console.print(f"{calls:.2f} tool calls an episode, cost {cost:.3g}; {report.productivity:.3f} successes a call")
    if report.calibration:
        c = report.calibration
        said = f"confidence {c.confidence:.2f} on average, stated {c.stated} times"
        console.print(f"{said}: Brier {c.brier:.3f}, ECE {c.ece:.3f}", highlight=False)
    if report.failed:
        console.print(f"[red]{report.failed} episodes failed for reasons of infrastructure and are not counted[/red]")


def _suites() -> None:
    """The bundled suites with what reference policies reach."""
    from agentrl.evaluation import suites

    table = Table("suite", "tasks", *suites.REFERENCES, "what", box=None)
    for name, path in suites.bundled().items():
        suite = suites.read(path)
        scores = [f"{x:.1%}" if (x := suite.reference.get(policy)) is not None else "-" for policy in suites.REFERENCES]
        size = sum(part.first or 0 for part in suite.parts)
        table.add_row(name, str(size or "all"), *scores, suite.description)
    Console().print(table)
