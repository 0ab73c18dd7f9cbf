"""``agentrl learn``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentrl.cli.options import Seed


def learn(
    data: Annotated[list[Path], typer.Argument(help="Folders of stored sessions, several of each task.")],
    policy: Annotated[str, typer.Option(help="Policy to update: the one that sampled them.")] = "small",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new policy.")] = Path("policies/learnt"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a key of the recipe: a.b=value.")] = None,
    seed: Seed = 0,
) -> None:
    """Update a policy once by what agent programs did with it (the sessions of agentrl serve).

    Examples:

        agentrl learn sessions/ --policy small -o policies/next

        agentrl learn sessions/ --policy small --set optim.lr=1e-5 --set 'credit=[grpo]' -o policies/next
    """
    from agentrl.trainers import recipe as recipes
    from agentrl.trainers.learn import DEFAULTS, learn

    made = recipes.load("default", [*DEFAULTS, *(set_ or [])], seed=seed)
    found = learn(data, policy, out, made)
    typer.echo(
        f"{found['episodes']} episodes of {found['tasks']} tasks, mean reward {found['reward']:.3f}; "
        f"logprob gap {found['logprob_gap']:.2g}, gradient {found['grad_norm']:.3g}: {out}"
    )
