"""``agentrl collect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentrl.cli.options import Engine, EnvSet, Plugins, Seed, keywords
from agentrl.errors import UserError, unknown
from agentrl.types import Trajectory


def collect(
    envs: Annotated[list[str], typer.Argument(help="[FILE.py:]ENV[:SPLIT], one or several (split train by default).")],
    policy: Annotated[str, typer.Option(help="expert, random, replay:PATH, or any policy of tokens.")] = "expert",
    engine: Engine = "transformers",
    noise: Annotated[str, typer.Option(help="How often the expert acts at random: 0.3, or 0.2-0.9 by episode.")] = "0",
    episodes: Annotated[int, typer.Option("-n", min=1, help="Episodes an environment.")] = 1000,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the trajectories.")] = Path("demos"),
    set_: EnvSet = None,
    keep: Annotated[str, typer.Option(help="all | successes")] = "all",
    attempts: Annotated[int, typer.Option("-k", min=1, help="Tries of each task, one after the other.")] = 1,
    cap: Annotated[
        int | None, typer.Option(min=1, help="Keep at most so many of a task's tries, the shortest.")
    ] = None,
    labels: Annotated[bool, typer.Option("--labels", help="Store what the expert would do in every turn.")] = False,
    beta: Annotated[float, typer.Option(min=0, max=1, help="With --labels: how often the expert acts itself.")] = 0.0,
    seed: Seed = 0,
    plugin: Plugins = None,
) -> None:
    """Play episodes with any policy and store them as Parquet.

    Examples:

        agentrl collect agentrl/Household-v0 --set size=tiny+small --noise 0.3 -n 2000 -o demos/

        agentrl collect guess.py:Guess-v0 --policy expert -n 1000 -o demos/guess

        agentrl collect agentrl/Household-v0 --policy small -k 8 -n 4000 --keep successes --cap 2 -o demos/own

        agentrl collect agentrl/Household-v0 --policy small --labels -n 1000 -o demos/dagger
    """
    from agentrl import api
    from agentrl.cli.bar import Bar

    if keep not in ("all", "successes"):
        raise unknown("--keep", keep, ["all", "successes"])
    level = _noise(noise)
    if level != (0.0, 0.0) and policy != "expert":
        raise UserError("--noise is for --policy expert")
    wins = turns = 0
    with Bar("episodes", episodes * len(envs)) as bar:

        def count(trajectory: Trajectory) -> None:
            nonlocal wins, turns
            wins += trajectory.success
            turns += len(trajectory.turns)
            bar.episode(trajectory)

        api.collect(
            envs,
            policy,
            episodes,
            out,
            noise=level,
            kwargs=keywords(set_),
            seed=seed,
            keep=keep,
            attempts=attempts,
            cap=cap,
            labels=labels,
            beta=beta,
            plugin=plugin or (),
            on_done=count,
            engine=engine,
        )
    total = episodes * len(envs)
    typer.echo(f"{total} episodes, {wins / total:.1%} successful, {turns / total:.1f} turns each: {out}")


def _noise(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    try:
        found = float(low), float(high or low)
    except ValueError:
        found = (-1.0, -1.0)
    if not 0 <= found[0] <= found[1] <= 1:
        raise UserError(f"--noise is a probability such as 0.3, or a range such as 0.2-0.9, not {text!r}")
    return found
