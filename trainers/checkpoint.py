"""Checkpoints that are whole or absent: written aside, synced, renamed. ``last`` and ``best`` are links."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from agentrl.errors import UserError
from agentrl.trainers.models import save_policy

KEEP = 2  # newest checkpoints that stay, besides the best one


def save(
    folder: Path, iteration: int, model: nn.Module, tokenizer: Any, agent: dict[str, Any], state: dict[str, Any]
) -> Path:
    """Write checkpoint ``iteration`` (iterations done so far) and point ``last`` at it."""
    target = folder / f"{iteration:06d}"
    partial = folder / f".{target.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        save_policy(partial, model, tokenizer, agent)
        torch.save(state, partial / "trainer.pt")
    except Exception as error:  # safetensors and torch have errors of their own for a full disk
        if shutil.disk_usage(folder).free > 1 << 20:
            raise
        shutil.rmtree(partial, ignore_errors=True)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)) from error
    (partial / "state.json").write_text(json.dumps({"iteration": iteration}) + "\n")
    for file in partial.rglob("*"):
        _sync(file)
    _sync(partial)
    shutil.rmtree(target, ignore_errors=True)
    os.replace(partial, target)
    point(folder, "last", target)
    _sync(folder)
    _prune(folder)
    return target


def point(folder: Path, name: str, target: Path) -> None:
    """Make ``folder/name`` a link to ``target``, in one step."""
    link = folder / f".{name}.link"
    link.unlink(missing_ok=True)
    link.symlink_to(target.name)
    os.replace(link, folder / name)


def load_state(checkpoint: Path) -> dict[str, Any]:
    """Optimiser, counters and credit state of a checkpoint. Raises UserError where it is damaged."""
    try:
        state: dict[str, Any] = torch.load(checkpoint / "trainer.pt", weights_only=False)
    except FileNotFoundError:
        raise UserError(f"{checkpoint} is no training checkpoint: it has no trainer.pt") from None
    except Exception as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint / 'trainer.pt'} is damaged: {type(error).__name__}: {line}") from error
    return state


def _prune(folder: Path) -> None:
    kept = {(folder / name).resolve() for name in ("last", "best") if (folder / name).exists()}
    whole = sorted(path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
    for path in whole[:-KEEP]:
        if path.resolve() not in kept:
            shutil.rmtree(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
