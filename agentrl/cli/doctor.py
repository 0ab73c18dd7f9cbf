"""``agentrl doctor``: what this machine can run, and whether a policy can be trained on it."""

from __future__ import annotations

import json
import os
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agentrl.cli.options import AsJson, Engine
from agentrl.errors import UserError

if TYPE_CHECKING:
    from agentrl.trainers.doctor import Finding

# package -> what it brings, and the extra that installs it
PACKAGES = {
    "torch": ("training and local policies", "train"),
    "transformers": ("training and local policies", "train"),
    "tensorboard": ("curves in a browser", "train"),
    "matplotlib": ("curve.png of a run", "train"),
    "peft": ("adapters", "lora"),
    "pillow": ("policies that see", "vision"),
    "vllm": ("fast sampling on a GPU", "vllm"),
    "liger-kernel": ("faster kernels on a GPU", "liger"),
}
# what environments may need -> what says whether it is there
PARTS = {
    "local sandbox": "agentrl.tools.sandboxes.local",
    "browser": "agentrl.tools.browser.chromium",
    "desktop": "agentrl.tools.desktop.machine",
}


def doctor(
    policy: Annotated[str | None, typer.Option(help="Bundled name, folder, run folder or hub name to examine.")] = None,
    engine: Engine = "transformers",
    as_json: AsJson = False,
) -> None:
    """Say what this machine can run; with --policy, play and train a little and see that all is as it should be.

    Exit code 1 where a check fails.

    agentrl doctor --policy small

    agentrl doctor --policy small --policy.engine vllm
    """
    from rich.console import Console
    from rich.text import Text

    machine = _machine()
    console = Console(quiet=as_json, highlight=False)
    for name, line in machine.items():
        console.print(Text(f"{name:14} {line}"))
    found: list[Finding] = []
    if policy is not None:
        from agentrl.trainers.doctor import Examination, pieces

        bench = Examination(policy, engine)
        console.print()
        for finding in bench.run():
            found.append(finding)
            mark, style = {True: ("ok", "green"), False: ("FAILS", "red"), None: ("note", "yellow")}[finding.ok]
            console.print(Text(f"{mark:6}", style), Text(f"{finding.name}: {finding.line}"))
        if bench.episode is not None and not as_json:
            console.print("\nan episode as it is trained; what carries loss is green:\n")
            text = Text()
            for piece, trained in pieces(bench.episode, bench.tokenizer):
                text.append(_printable(piece), "bold green" if trained else "dim")
            console.print(text)
    if as_json:
        print(json.dumps({"machine": machine, "checks": [vars(finding) for finding in found]}))
    raise typer.Exit(1 if any(finding.ok is False for finding in found) else 0)


def _machine() -> dict[str, str]:
    lines = {"python": platform.python_version(), "system": platform.platform(), "cores": str(os.cpu_count())}
    lines["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    lines |= _torch()
    for name, (use, extra) in PACKAGES.items():
        try:
            lines[name] = version(name)
        except PackageNotFoundError:
            lines[name] = f"not installed ({use}): pip install 'agentrl-toolkit[{extra}]'"
    return lines | {name: _part(module) for name, module in PARTS.items()}


def _part(module: str) -> str:
    try:
        import_module(module).require()
    except ModuleNotFoundError as error:
        return f"needs {error.name}: pip install 'agentrl-toolkit[web]'"
    except UserError as error:
        return str(error)
    return "ready"


def _torch() -> dict[str, Any]:
    try:
        import torch
    except ModuleNotFoundError:
        return {}
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return {"GPU": ", ".join(names)}
    return {"GPU": "none: small models train on the processor", "vectors": torch.backends.cpu.get_cpu_capability()}


def _printable(text: str) -> str:
    """Model output without what could steer a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
