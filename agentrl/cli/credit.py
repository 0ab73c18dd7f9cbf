"""``agentrl credit``: which turn earned what, from stored trajectories alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agentrl.cli.options import AsJson, Plugins, Seed, keywords, load_plugins

if TYPE_CHECKING:
    from agentrl.trainers.credit.choose import Chosen

app = typer.Typer(no_args_is_help=True, help="Credit assignment on stored trajectories: list, apply, compare, explain.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="Run folder, Parquet file or folder, or JSON lines.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Option of the methods: gamma=0.9, or for one: hgpo.gamma=0.9.")
]
Preset = Annotated[str | None, typer.Option(help="parity: the settings of the published code.")]

BENCHED = "grpo,rloo,reinforce-pp-baseline,gigpo-step,gigpo,hgpo,salt,graphgpo,step-grpo"
SHOWN = 20  # trajectories that a table for people shows


@app.command("list")
def list_(plugin: Plugins = None, as_json: AsJson = False) -> None:
    """List the transforms, estimators and modulators: what each computes, needs, and where it comes from.

    agentrl credit list --json
    """
    from agentrl.trainers.credit.anchors import ANCHORS
    from agentrl.trainers.credit.choose import describe

    load_plugins(plugin)
    rows = describe()
    if as_json:
        return typer.echo(json.dumps(rows, indent=2, default=str))
    table = Table("id", "kind", "needs", "formula", "source", "parity", box=None)
    for row in rows:
        needs = ", ".join(row["needs"])
        table.add_row(row["id"], row["kind"], needs, *(escape(row[name]) for name in ("formula", "source", "parity")))
    console = Console()
    console.print(table)
    console.print("\nanchors (the recipe's anchor): what makes two turns comparable")
    for name, what in ANCHORS.items():
        console.print(f"  {name}: {what}", style="dim", highlight=False)


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
    from agentrl.trainers.credit.batches import batches, credited

    load_plugins(plugin)
    chosen = _chosen(file, estimator, set_, preset)
    given = list(credited(batches(file), chosen.rewards, chosen.credit))
    if as_json:
        for batch, credit in given:
            excluded = credit.table.excluded
            for id in batch.ids:
                line: dict[str, Any] = {"id": id}
                if id in excluded:
                    line["excluded"] = excluded[id]
                else:
                    line["advantages"] = credit.of(id).tolist()
                    if credit.token_advantages is not None:
                        line["token_advantages"] = [part.tolist() for part in credit.tokens_of(id)]
                typer.echo(json.dumps(line))
        return
    rows = [(credit, id) for batch, credit in given for id in batch.ids]
    table = Table("trajectory", "outcome", "advantage of each turn", box=None)
    for credit, id in rows[:SHOWN]:
        if id in credit.table.excluded:
            table.add_row(escape(id), "-", f"left out: {credit.table.excluded[id]}")
            continue
        outcome = credit.table.outcome[credit.table.trajectory[credit.table.rows(id).start]]
        table.add_row(escape(id), f"{outcome:g}", " ".join(f"{a:+.2f}" for a in credit.of(id)))
    console = Console()
    console.print(table)
    if len(rows) > SHOWN:
        console.print(f"... and {len(rows) - SHOWN} more; --json prints all", style="dim")


@app.command()
def compare(
    file: File,
    estimators: Annotated[str, typer.Option(help="ID,ID: each stands alone; transforms and modulators go to all.")],
    set_: Set = None,
    preset: Preset = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Compare estimators on the same trajectories: how alike they are, how many turns each leaves at zero.

    agentrl credit compare runs/last --estimators grpo,gigpo,hgpo
    """
    from agentrl.trainers.credit.batches import batches
    from agentrl.trainers.credit.compare import compare as compared

    load_plugins(plugin)
    found = compared(batches(file), _chosen(file, estimators, set_, preset))
    if as_json:
        return typer.echo(json.dumps(found.plain()))
    numbers: dict[str, list[float | None]] = {
        "variance": [*found.variance],
        "zero advantage": [*found.zero_share],
        "alone in its state": found.anchor_singleton_share,
    }
    table = Table("estimator", *numbers, box=None, title=f"{found.turns} turns")
    for k, name in enumerate(found.estimators):
        table.add_row(name, *(_number(column[k], share=title != "variance") for title, column in numbers.items()))
    console = Console()
    console.print(table)
    for title, pairs, share in (
        ("correlation", found.correlation, False),
        ("same sign", found.sign_agreement, True),
    ):
        table = Table(title, *found.estimators, box=None)
        for name, row in zip(found.estimators, pairs, strict=True):
            table.add_row(name, *(_number(value, share) for value in row))
        console.print()
        console.print(table)


@app.command()
def explain(
    file: File,
    group: Annotated[str, typer.Option(help="Id of a group, or its place: 0 is the first.")],
    estimators: Annotated[
        str | None, typer.Option(help="ID,ID: each stands alone. Default: the parts of the run's own, else grpo.")
    ] = None,
    set_: Set = None,
    preset: Preset = None,
    html: Annotated[Path | None, typer.Option(help="Write it to this file, as a page, instead.")] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Show what each turn of each trajectory of a group was given, and by which part.

    What the run trained on is shown as it was stored; other estimators are worked out now.

    agentrl credit explain runs/last --group 0 --estimators grpo,gigpo,salt --html credit.html
    """
    from agentrl.trainers.credit.batches import batches
    from agentrl.trainers.credit.explain import explain as explained
    from agentrl.trainers.credit.page import branch_line

    load_plugins(plugin)
    chosen = _chosen(file, estimators, set_, preset)
    found = explained(batches(file), chosen, group, together=estimators is None)
    if html is not None:
        from agentrl.trainers.credit.page import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(found), encoding="utf-8")
        typer.echo(f"group {found.group}: {html}", err=as_json)
    if as_json:
        return typer.echo(json.dumps(found.plain()))
    if html is not None:
        return
    console = Console()
    # the texts share what the numbers leave
    widths = {name: max(7, *map(len, name.split())) for name in ("reward", "alike", *found.columns)}
    room = max(8, (console.width - 4 - sum(widths.values()) - 2 * (len(widths) + 3)) // 2)
    console.print(f"group {escape(found.group)} of {escape(found.source)}", highlight=False)
    console.print("✗ invalid; alike: turns of the group that began in the same state", style="dim", highlight=False)
    console.print(found.origin, style="dim", highlight=False)
    if tree := [f"{'    ' * depth}{escape(branch_line(t))}" for depth, t in found.tree()]:
        console.print("\n" + "\n".join(tree), highlight=False)
    for t in found.trajectories:
        console.print()
        if t.excluded:
            console.print(f"[bold]{escape(t.id)}[/bold]  left out: {escape(t.excluded)}", highlight=False)
            continue
        branch = f", branched from {escape(t.parent)}" if t.parent else ""
        console.print(f"[bold]{escape(t.id)}[/bold]  outcome {t.outcome:g}, {t.ended}{branch}", highlight=False)
        table = Table("turn", "saw", "did", box=None)
        for name in ("reward", "alike", *found.columns):
            table.add_column(name, justify="right", width=widths[name])
        for turn in t.turns:
            did = _cut(turn.action if turn.valid else f"✗ {turn.action}", room)
            size = "-" if turn.anchor_size is None else str(turn.anchor_size)
            given = [f"{turn.gave[name]:+.3f}" for name in found.columns]
            table.add_row(
                str(turn.turn),
                _cut(turn.observation, room),
                did if turn.valid else f"[red]{did}[/red]",
                f"{turn.reward:g}",
                size,
                *given,
            )
        console.print(table)


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


@app.command()
def bench(
    source: Annotated[
        str, typer.Argument(help="exact (KeyDoor), [FILE.py:]ENV[:SPLIT], or a folder it was stored in.")
    ],
    estimators: Annotated[str, typer.Option(help="ID,ID: each stands alone.")] = BENCHED,
    policy: Annotated[str, typer.Option(help="Whose turns are judged.")] = "small",
    groups: Annotated[int, typer.Option(min=2, help="Groups that are played.")] = 8,
    size: Annotated[int, typer.Option(min=2, help="Episodes of a group.")] = 16,
    sizes: Annotated[str, typer.Option(help="Group sizes that credit is given in.")] = "4,8,16",
    k: Annotated[int, typer.Option("-k", min=2, help="Continuations from every turn.")] = 32,
    epsilon: Annotated[float, typer.Option(min=0, max=1, help="exact: how often the policy acts at random.")] = 0.8,
    env_set: Annotated[
        list[str] | None, typer.Option("--env-set", help="Argument of the environment: size=tiny.")
    ] = None,
    turn_tokens: Annotated[int, typer.Option(min=1, help="Longest reply.")] = 64,
    seed: Seed = 0,
    set_: Set = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where the truth is stored, with table and plot.")
    ] = None,
    plugin: Plugins = None,
    as_json: AsJson = False,
) -> None:
    """Score estimators against the true advantage Q - V of every turn, with intervals over groups.

    The truth is exact in KeyDoor. Elsewhere the policy goes back to each turn and plays on -k times.

    agentrl credit bench exact --groups 200

    agentrl credit bench agentrl/Household-v0 --env-set size=tiny -k 16 -o truth/household
    """
    from agentrl.cli.bar import Bar
    from agentrl.errors import UserError
    from agentrl.trainers import truth
    from agentrl.trainers.credit.bench import bench as benched
    from agentrl.trainers.credit.choose import choose, split

    load_plugins(plugin)
    chosen = choose(split(estimators), keywords(set_))
    if source == "exact":
        found = truth.exact(groups, size, epsilon, seed)
    elif (Path(source) / truth.FILE).is_file():
        found, out = truth.stored(Path(source)), out or Path(source)
    elif out is None:
        raise UserError("playing on takes minutes: say with -o where its result is to be kept")
    else:
        arguments: dict[str, Any] = {"kwargs": keywords(env_set), "turn_tokens": turn_tokens, "seed": seed}
        try:
            with Bar("episodes") as bar:
                found = truth.estimated(source, policy, out, groups=groups, size=size, k=k, observer=bar, **arguments)
        except KeyboardInterrupt:
            if (out / truth.FILE).is_file():
                typer.echo(f"stopped; the groups that were done are kept: agentrl credit bench {out}", err=True)
            raise
    try:
        wanted = [int(part) for part in split(sizes)]
    except ValueError:
        raise UserError(f"--sizes are numbers such as 4,8,16, not {sizes!r}") from None
    scores = benched(found, chosen, wanted, seed)
    told = {"turns": len(found.table), "significant": int(found.significant.sum()), "ceiling": found.ceiling}
    if out is not None:
        from agentrl.cli.plot import of_scores

        out.mkdir(parents=True, exist_ok=True)
        (out / "bench.json").write_text(json.dumps({**told, "scores": [s.plain() for s in scores]}, indent=1) + "\n")
        of_scores(scores, out / "bench.png")
    if as_json:
        return typer.echo(json.dumps({**told, "scores": [s.plain() for s in scores]}))
    table = Table("estimator", "group", "Spearman", "right sign", "Pearson", "gradient", "by episode", "ms", box=None)
    for s in sorted(scores, key=lambda s: (s.size, -s.spearman.value)):
        others = (f"{x:.2f}" for x in (s.pearson.value, s.by_episode.value, s.ms))
        pearson, by_episode, ms = others
        table.add_row(s.estimator, str(s.size), str(s.spearman), str(s.sign), pearson, str(s.gradient), by_episode, ms)
    console = Console()
    console.width = max(118, console.width)
    console.print(table, highlight=False)
    line = f"{told['turns']} turns, {told['significant']} of them surely not 0. ms: CPU for 1,000 turns. "
    line += f"Noise in the truth leaves a correlation of at most {found.ceiling:.2f}."
    console.print(line, style="dim", highlight=False)


def _chosen(file: Path, ids: str | None, changes: list[str] | None, preset: str | None) -> Chosen:
    from agentrl.errors import UserError
    from agentrl.trainers.credit.batches import recipe_of
    from agentrl.trainers.credit.choose import Chosen, choose, split

    recipe: dict[str, Any] = recipe_of(file) if ids is None else {}
    if "credit" in recipe:
        if changes or preset:
            raise UserError("--set and --preset need the methods to be named; without, the run's own recipe holds")
        return Chosen(tuple(recipe.get("rewards") or ()), tuple(recipe["credit"]))
    return choose(split(ids if ids is not None else "grpo"), keywords(changes), preset)


def _number(value: float | None, share: bool = False) -> str:
    return "-" if value is None else f"{value:.1%}" if share else f"{value:.4f}"


def _cut(text: str, room: int) -> str:
    line = " ".join(text.split())
    return escape(line if len(line) <= room else line[: room - 1] + "…")
