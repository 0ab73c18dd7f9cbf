"""``agentrl train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentrl.cli.options import Plugins, load_plugins
from agentrl.errors import UserError


def train(
    recipe: Annotated[str | None, typer.Argument(help="Recipe (bundled name or YAML file) or environment.")] = None,
    policy: Annotated[str | None, typer.Option(help="Bundled name, folder, run folder or hub name.")] = None,
    engine: Annotated[str | None, typer.Option("--policy.engine", help="transformers, vllm, or vllm@ADDRESS.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key: a.b=value. May be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder; default runs/NAME-DATE.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run folder.")] = None,
    plugin: Plugins = None,
) -> None:
    """Train a policy by reinforcement learning: measure, train, measure again.

    The run folder holds recipe, metrics, trajectories, checkpoints, a learning curve and summary.json. Ctrl-C saves.

    Examples:

        agentrl train household

        agentrl train household-tiny --seed 1 -o runs/a --set 'credit=[grpo]'

        agentrl train guess.py:Guess-v0 --policy policies/guess --set iterations=20

        agentrl train --resume runs/a

        torchrun --standalone --nproc-per-node 4 -m agentrl train household
    """
    from agentrl import api
    from agentrl.cli.dashboard import Dashboard
    from agentrl.trainers import sharded
    from agentrl.trainers.loop import Training

    if sharded.rank() > 0:
        return sharded.follow()
    if (recipe is None) == (resume is None):
        raise UserError("train takes a recipe or an environment, or --resume RUN")
    with Dashboard() as board:
        if resume is not None:
            if policy or engine or seed is not None or out:
                raise UserError("--resume goes on with the run's own recipe; only --set iterations=N may change it")
            training = Training.resume(resume, board, _iterations(set_ or []))
        else:
            load_plugins(plugin)
            changes = list(set_ or [])
            changes += [f"policy.path={policy}"] if policy else []
            changes += [f"policy.engine={engine}"] if engine else []
            made = api.recipe_for(str(recipe), changes, seed=seed)
            training = Training.new(made, out or api.new_folder(made.name), board)
        run = training.run()
    before, after = run.before, run.after
    if before and after:
        typer.echo(
            f"success on unseen tasks: {before['success']:.1%} -> {after['success']:.1%} "
            f"({100 * (after['success'] - before['success']):+.1f} points) in {run.summary['wall_s']:.0f} s"
        )
    typer.echo(f"run folder: {run.folder}")


def _iterations(changes: list[str]) -> int | None:
    if not changes:
        return None
    key, _, value = changes[-1].partition("=")
    if len(changes) > 1 or key != "iterations" or not value.isdigit():
        raise UserError("--resume goes on with the run's own recipe; only --set iterations=N may change it")
    return int(value)
