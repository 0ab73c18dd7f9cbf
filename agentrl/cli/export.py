"""``agentrl export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    policy: Annotated[str, typer.Argument(help="Run folder, policy folder, bundled or hub name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be new or empty.")],
) -> None:
    """Write a policy as an ordinary transformers folder with a model card: recipe, data, results.

    agentrl export runs/last -o model/
    """
    from agentrl.trainers.export import export as exported

    folder = exported(policy, out)
    typer.echo(f"{folder}: AutoModelForCausalLM.from_pretrained({str(folder)!r}) loads it; README.md is its card")
