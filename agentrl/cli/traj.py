"""``agentrl traj``: what is stored, to list, filter, read and hand on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentrl.errors import UserError, unknown

app = typer.Typer(no_args_is_help=True, help="Stored trajectories: list, filter, show, export.")

Source = Annotated[Path, typer.Argument(metavar="PATH", help="Run folder, Parquet file or folder.")]
Where = Annotated[
    list[str] | None,
    typer.Option("--where", "-w", help="Condition, as success=false or task~egg; all must hold."),
]
SHOWN = ("id", "task", "task_type", "success", "reward", "n_turns", "stop_reason")


@app.command("list")
def list_(
    path: Source,
    where: Where = None,
    first: Annotated[int, typer.Option("--first", "-n", min=0, help="How many to print.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON line each and nothing else.")] = False,
) -> None:
    """List trajectories. Only the columns that are asked about are read.

    agentrl traj list runs/last -w success=false -w 'n_turns>20'
    """
    import pyarrow.compute as pc
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from agentrl.store.frames import Trajectories
    from agentrl.store.select import matching

    found = matching(Trajectories(path).table(), where or ())
    rows = found.select(list(SHOWN)).slice(0, first).to_pylist()
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row))
        return
    table = Table(*SHOWN, box=None)
    for row in rows:
        table.add_row(*("" if value is None else escape(f"{value}") for value in row.values()))
    console = Console()
    console.print(table)
    n, won = len(found), pc.sum(found["success"]).as_py() or 0
    turns = pc.sum(found["n_turns"]).as_py() or 0
    console.print(f"{n} trajectories, {turns} turns, {won / max(1, n):.1%} successful", style="dim", highlight=False)


@app.command("filter")
def filter_(
    path: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write to.")],
    where: Where = None,
) -> None:
    """Write the trajectories that all conditions hold for, whole, to a folder that every command reads.

    agentrl traj filter runs/last -w success=true -o good/ && agentrl sft good/ --from-scratch 1m
    """
    from agentrl import store
    from agentrl.store.select import selected

    if out.exists() and any(out.glob("*.parquet")):
        raise UserError(f"{out} holds trajectories already; choose another folder")
    parts = selected(path, where or ())
    if not parts:
        raise UserError(f"no trajectory of {path} meets {' and '.join(where or ())}")
    for file, groups in parts:
        store.write(out, file.stem, groups)
    typer.echo(f"{sum(len(group) for _, groups in parts for group in groups)} trajectories: {out}")


@app.command()
def show(path: Source, id: Annotated[str, typer.Argument(help="Id of a trajectory.")]) -> None:
    """Print a trajectory as people read it.

    agentrl traj show runs/last 000003-002-005
    """
    from agentrl.store.frames import Trajectories
    from agentrl.store.rows import transcript
    from agentrl.store.select import selected

    ids = Trajectories(path).table(["id"])["id"].to_pylist()
    if id not in ids:
        raise unknown("trajectory", id, ids)
    [(_, [group])] = selected(path, [f"id={id}"])[:1]
    typer.echo(transcript(group.trajectories[0]))


@app.command()
def export(
    path: Source,
    to: Annotated[str, typer.Option("--as", help="chat, sft or pairs.")] = "chat",
    out: Annotated[Path, typer.Option("--out", "-o", help="File.jsonl, or a folder: a Hugging Face dataset.")] = Path(
        "-"
    ),
    where: Where = None,
) -> None:
    """Write rows for other tools: whole conversations, a row a turn to imitate, or successes against failures.

    Without -o the rows are printed. A folder can be loaded with datasets.load_dataset(FOLDER).

    agentrl traj export runs/last --as pairs -o pairs.jsonl
    """
    from agentrl.store.rows import KINDS
    from agentrl.store.select import selected

    if to not in KINDS:
        raise unknown("kind of rows", to, KINDS)
    lines = (
        json.dumps(row, ensure_ascii=False) for _, groups in selected(path, where or ()) for row in KINDS[to](groups)
    )
    if out == Path("-"):
        for line in lines:
            typer.echo(line)
        return
    folder = out.suffix != ".jsonl"
    file = out / "train.jsonl" if folder else out
    file.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with file.open("w", encoding="utf-8", errors="backslashreplace") as sink:
        for line in lines:
            sink.write(line + "\n")
            count += 1
    if folder:
        card = "---\nconfigs:\n- config_name: default\n  data_files: train.jsonl\n---\n\n"
        (out / "README.md").write_text(
            f"{card}{count} rows ({to}), written by agentrl traj export.\n", encoding="utf-8"
        )
    typer.echo(f"{count} rows: {out}")
