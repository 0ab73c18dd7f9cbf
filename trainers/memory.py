"""What a run holds in memory: an estimate before it begins, and what to turn where there was too little."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from agentrl.errors import UserError
from agentrl.trainers.batching import LOGITS_PER_CHUNK
from agentrl.trainers.models import parameters
from agentrl.trainers.recipe import Recipe

UPDATE = "lower optim.positions, or set optim.checkpointing=true or optim.bf16=true"
CLONING = "lower positions, or set bf16=true or batcher=trie"
SAMPLING = "lower rollout.concurrency, limits.turn_tokens or limits.turns"
PER_LAYER = 16  # hidden-sized float32 values that a layer keeps of a position for its backward pass, about


@contextlib.contextmanager
def phase(name: str, knobs: str = UPDATE) -> Iterator[None]:
    """Raises UserError with the phase and what to turn where the memory does not suffice for what is done within."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is a RuntimeError; a processor has none
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)):
            raise
        raise UserError(f"out of memory in {name}: {knobs}") from error


def estimate(model: Any, recipe: Recipe, copies: int) -> str:
    """What the run will hold at the peak of an update, roughly, as a line. ``copies``: float32 values a weight."""
    config = model.config.get_text_config()
    kept = 1 if recipe.optim.checkpointing else PER_LAYER
    hidden = recipe.optim.positions * config.hidden_size * config.num_hidden_layers * kept * 4
    needed = parameters(model) * copies * 4 + hidden + LOGITS_PER_CHUNK * 3 * 4  # logits, their softmax, its gradient
    line = f"about {math.ceil(needed / 2**20)} MiB at the peak of an update"
    free = available(next(model.parameters()).device)
    return f"{line}, and {free // 2**20} MiB are free: {UPDATE}" if free is not None and needed > free else line


def available(device: torch.device) -> int | None:
    """Bytes that are free on the device; None where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), None)
