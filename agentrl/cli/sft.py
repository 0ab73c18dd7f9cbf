"""``agentrl sft``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from agentrl.cli.options import Seed, keywords


def sft(
    data: Annotated[list[Path], typer.Argument(help="Folders of stored trajectories.")],
    from_scratch: Annotated[str | None, typer.Option(help="Size of a new small model: 1m, 1m-mha, 2m or 5m.")] = None,
    policy: Annotated[str | None, typer.Option(help="Policy to fine-tune instead.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the new policy.")] = Path("policies/sft"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="Setting: lr, epochs, batch, noise_from ...")] = None,
    agent: Annotated[
        list[str] | None, typer.Option("--agent", help="How the policy talks: context=4, format=text")
    ] = None,
    vocabulary: Annotated[int, typer.Option(help="Size of a new tokenizer, a multiple of 64.")] = 1152,
    tokens: Annotated[
        str, typer.Option(help="What its tokens are: phrases, or words that are the same token wherever they stand.")
    ] = "phrases",
    window: Annotated[int, typer.Option(help="Longest context of a new model, in tokens.")] = 1024,
    seed: Seed = 0,
) -> None:
    """Train a policy to imitate stored episodes: a new small one, or any model.

    Examples:

        agentrl sft demos/ --from-scratch 1m -o policies/guess

        agentrl sft demos/ --policy HuggingFaceTB/SmolLM2-135M-Instruct --set lr=1e-5 -o policies/smol
    """
    from agentrl import api
    from agentrl.agents.chat import AgentConfig
    from agentrl.cli.bar import Bar
    from agentrl.trainers.options import validated

    talk = validated(AgentConfig, "--agent", keywords(agent)) if agent else None
    begin = time.perf_counter()
    last = 0.0
    with Bar("steps") as bar:

        def progress(step: int, steps: int, loss: float) -> None:
            nonlocal last
            last = loss
            bar.update(completed=step, total=steps, description=f"loss {loss:.3f}")

        settings = keywords(set_) | {"seed": seed}
        where = api.sft(
            data,
            from_scratch=from_scratch,
            model=policy,
            out=out,
            agent=talk,
            window=window,
            vocabulary=vocabulary,
            tokens=tokens,
            progress=progress,
            **settings,
        )
    typer.echo(f"loss {last:.3f} after {time.perf_counter() - begin:.0f} s: {where}")
