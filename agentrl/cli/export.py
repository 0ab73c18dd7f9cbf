"""``agentrl export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    policy: Annotated[str, typer.Argument(help="Run folder, policy folder, bundled or hub name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder to write; must be new or empty.")],
    adapter: Annotated[bool, typer.Option("--adapter", help="The LoRA adapter alone, for peft.")] = False,
) -> None:
    """Write a policy as an ordinary transformers folder with a model card: recipe, data, results.

    agentrl export runs/last -o model/

    agentrl export runs/last --adapter -o adapter/
    """
    from agentrl.trainers.export import export as exported

    folder = exported(policy, out, adapter)
    how = f"PeftModel.from_pretrained(model, {str(folder)!r})"
    how = how if adapter else f"AutoModelForCausalLM.from_pretrained({str(folder)!r})"
    typer.echo(f"{folder}: {how} loads it; README.md is its card")
