"""Checkpoints that are whole or absent: written aside, sealed with hashes, synced, renamed.

``last`` and ``best`` are links to two of them.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from agentrl.errors import UserError
from agentrl.store.files import point, sync
from agentrl.store.seal import check, seal
from agentrl.trainers.models import save_policy

STATE = "trainer.pt"


def save(
    folder: Path,
    iteration: int,
    model: nn.Module,
    tokenizer: Any,
    agent: dict[str, Any],
    state: dict[str, Any],
    keep: int,
) -> Path:
    """Write checkpoint ``iteration`` (iterations done so far) and point ``last`` at it.

    The newest ``keep`` stay, and the best one. Raises UserError where it cannot be written (a full disk, say); what was
    there before stays as it was.
    """
    target = folder / f"{iteration:06d}"
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save_policy(partial, model, tokenizer, agent)
        torch.save(state, partial / STATE)
        (partial / "state.json").write_text(json.dumps({"iteration": iteration}) + "\n")
        seal(partial)
        for file in partial.rglob("*"):
            sync(file)
        sync(partial)
        shutil.rmtree(target, ignore_errors=True)  # what a kill left before ``last`` led to it
        os.replace(partial, target)
        point(folder, "last", target)
        sync(folder)
    except (OSError, SafetensorError, RuntimeError) as error:  # safetensors and torch have their own for a full disk
        reason = _reason(error, folder)
        shutil.rmtree(partial, ignore_errors=True)
        last = folder / "last"
        stands = f"the last good one is {last.resolve()}" if last.exists() else "there is none before it"
        raise UserError(f"checkpoint {target} could not be written: {reason}; {stands}") from error
    _prune(folder, keep)
    return target


def go_back(folder: Path, target: Path) -> None:
    """Make ``target`` the last of ``folder``: what was saved after it is of iterations that will be done again."""
    point(folder, "last", target)
    for path in _all(folder):
        if path.name > target.name:
            shutil.rmtree(path)
    if not (folder / "best").exists():
        point(folder, "best", target)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Optimiser, counters and the states of plug-ins of a checkpoint. Raises UserError where it is damaged."""
    check(checkpoint)
    path = checkpoint / STATE
    if not path.exists():
        raise UserError(f"{checkpoint} is no training checkpoint: it has no {STATE}")
    try:
        state: dict[str, Any] = torch.load(path, weights_only=False)
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{path} is damaged: {type(error).__name__}: {line}") from error
    return state


def _all(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())


def _prune(folder: Path, keep: int) -> None:
    kept = {(folder / name).resolve() for name in ("last", "best") if (folder / name).exists()}
    for path in _all(folder)[:-keep]:
        if path.resolve() not in kept:
            shutil.rmtree(path)


def _reason(error: Exception, folder: Path) -> str:
    """What the system said: safetensors tells its number, torch nothing."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if number := re.search(r"os error (\d+)", str(error)):
        return os.strerror(int(number[1]))
    if shutil.disk_usage(folder).free < 1 << 20:
        return os.strerror(errno.ENOSPC)
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
