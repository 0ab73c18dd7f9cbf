"""Which batcher a model can use: a tiny trie against ordinary rows, before anything is trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from agentrl.errors import UserError
from agentrl.trainers.batching import BATCHERS, Sample

FALLBACK = ("trie", "packed", "padded")  # each costs more than the one before, and asks less of the model
FACTOR = 4.0  # times what ordinary layouts differ by among themselves
LENGTHS = ((6, 20), (6, 11), (13, 20), (13, 17))  # of four samples: ids shared with the one before, all ids


def choose(model: Any, wanted: str) -> tuple[str, str | None]:
    """The batcher to use, and a note where that is not the one that was wanted."""
    note = None
    for name in FALLBACK[FALLBACK.index(wanted) :]:
        why = None if name == "padded" else trouble(model, name)
        if why is None:
            return name, None if name == wanted else f"batcher {name} instead of {wanted}: {note}"
        note = note or why
    raise AssertionError("padded is always possible")


def trouble(model: Any, batcher: str) -> str | None:
    """Why ``batcher`` would give this model other values or gradients than one forward a sample; None: it does not."""
    if getattr(model, "eyes", None) is not None:
        return "the tokens of its images have three positions (M-RoPE)"
    if any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules()):
        return "it has dropout, which samples that share tokens would share"
    samples = _samples(int(model.config.get_text_config().vocab_size))
    alone = _found(model, "padded", samples, 1)
    together = _found(model, "padded", samples, 10_000)
    before = model.config.get_text_config()._attn_implementation
    try:
        tried = _found(model, batcher, samples, 10_000)
    except (UserError, TypeError, ValueError, RuntimeError) as error:
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__} in the forward pass"
        model.set_attn_implementation(before)
        return " ".join(why.partition(": set optim")[0].split())[:200]
    floor = 1e3 * torch.finfo(next(model.parameters()).dtype).eps
    for what, a, b, c in zip(("logprobs", "gradients"), alone, together, tried, strict=True):
        size = max(1.0, float(a.abs().max()))
        allowed = max(floor * size, FACTOR * float((a - b).abs().max()))
        worst = float((a - c).abs().max())
        if not worst <= allowed:
            model.set_attn_implementation(before)
            return f"its {what} differ by {worst:.2g} from those of ordinary rows, more than rounding ({allowed:.2g})"
    return None


def _found(model: Any, batcher: str, samples: list[Sample], budget: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logprobs by sample, and the gradient of their weighted sum by the parameters nearest to the input."""
    weights = [p for p in model.parameters() if p.requires_grad][:4]
    logprobs, gradient = {}, None
    for batch in BATCHERS[batcher](samples, budget):
        rows = batch.forward(model)
        loss = (rows.weight * rows.logprobs).sum()
        parts = torch.autograd.grad(loss, weights, allow_unused=True)
        flat = torch.cat([p.flatten() for p in parts if p is not None])
        gradient = flat if gradient is None else gradient + flat
        for k, (sample, _) in enumerate(batch.placed):
            logprobs[sample.trajectory] = rows.logprobs.detach()[rows.sample == k]
    assert gradient is not None
    return torch.cat([logprobs[k] for k in sorted(logprobs)]), gradient.detach()


def _samples(vocabulary: int) -> list[Sample]:
    rng = np.random.default_rng(0)
    ids: np.ndarray = np.zeros(0, np.int32)
    made = []
    for k, (shared, length) in enumerate(LENGTHS):
        ids = np.concatenate([ids[:shared], rng.integers(0, vocabulary, length - len(ids[:shared]))]).astype(np.int32)
        weight = (np.arange(length) % 4 > 0) * rng.uniform(-1, 1, length).astype(np.float32)
        zeros = np.zeros(length, np.float32)
        made.append(Sample(ids, weight.astype(np.float32), zeros, zeros, np.zeros(length, np.int32), k))
    return made
