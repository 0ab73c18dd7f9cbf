"""``agentrl dpo``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from agentrl.cli.options import Seed, keywords


def dpo(
    data: Annotated[list[Path], typer.Argument(help="Folders of stored trajectories, several tries a task.")],
    policy: Annotated[str, typer.Option(help="Policy to train: the one that played them.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new policy.")] = Path("policies/dpo"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="Setting: beta, lr, epochs, batch, pairs ...")] = None,
    seed: Seed = 0,
) -> None:
    """Train a policy to prefer its successes over its failures at the same task.

    Examples:

        agentrl collect agentrl/Household-v0 --policy small -k 8 -n 800 -o tries/

        agentrl dpo tries/ --policy small --set beta=1 -o policies/preferred
    """
    from agentrl import api
    from agentrl.cli.bar import Bar

    begin = time.perf_counter()
    first: list[float] = []
    last = 0.0

    with Bar("steps") as bar:

        def progress(step: int, steps: int, loss: float) -> None:
            nonlocal last
            last = loss
            first.append(loss)
            bar.update(completed=step, total=steps, description=f"loss {loss:.3f}")

        settings = keywords(set_) | {"seed": seed}
        where = api.dpo(data, model=policy, out=out, progress=progress, **settings)
    typer.echo(f"loss {first[0]:.3f} -> {last:.3f} in {time.perf_counter() - begin:.0f} s: {where}")
