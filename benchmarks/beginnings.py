"""The policies that benchmarks begin with, by ``agentrl collect`` and ``agentrl sft``; what is there is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

AS_FROM_SCRATCH = ("lr=2e-3", "muon=0.02", "observation_weight=0.3")  # what --from-scratch does of itself


def start(
    out: Path, collect: Sequence[object], episodes: Sequence[int], model: Sequence[object], settings: Sequence[str],
    seed: int = 0, size: str = "1m",
) -> Path:  # fmt: skip
    """``out/start``, cloned in stages of so many ``episodes``, each of demonstrations of its own.

    The first stage makes a new model of a ``size`` (``model``: other options), the others go on from the one before.
    """
    for stage, count in enumerate(episodes):
        demos, made = out / f"demos-{stage}", out / f"start-{stage}"
        if not demos.exists():
            agentrl("collect", *collect, "-n", count, "-o", demos, "--seed", seed + 1000 * stage)
        if not made.exists():
            changes = sets(settings if stage == 0 else [*AS_FROM_SCRATCH, *settings])
            origin = ["--from-scratch", size, *model] if stage == 0 else ["--policy", out / f"start-{stage - 1}"]
            agentrl("sft", demos, *origin, *changes, "-o", made, "--seed", seed + stage)
    if not (out / "start").exists():
        (out / "start").symlink_to(made.name)
    return out / "start"


def sets(changes: Sequence[str]) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


def agentrl(*words: object) -> None:
    """One command on one thread; raises CalledProcessError where it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    print(*words, flush=True)
    command = [sys.executable, "-m", "agentrl", *map(str, words)]
    subprocess.run(command, check=True, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
