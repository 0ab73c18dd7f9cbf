"""Options that several commands have, and how they are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from agentrl.errors import UserError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
EnvSet = Annotated[list[str] | None, typer.Option("--set", help="Argument of the environment: size=tiny.")]
Engine = Annotated[str, typer.Option("--policy.engine", help="transformers, vllm, or vllm@ADDRESS.")]
Plugins = Annotated[list[str] | None, typer.Option("--plugin", metavar="PATH", help="File or package to import first.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


def load_plugins(paths: Iterable[str] | None) -> None:
    """Import what ``--plugin`` names."""
    from agentrl.envs import plugins

    for path in paths or ():
        plugins.load(path)


def keywords(changes: Iterable[str] | None) -> dict[str, Any]:
    """``["size=tiny"]`` -> ``{"size": "tiny"}``, values as YAML."""
    import yaml

    found: dict[str, Any] = {}
    for change in changes or ():
        key, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--set takes key=value, not {change!r}")
        found[key] = yaml.safe_load(value)
    return found
