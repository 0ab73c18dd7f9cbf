"""What tests of the trainer share: tiny models, and how two runs are compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from agentrl.trainers.batching import BATCHERS, Sample

SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 24,
    "max_position_embeddings": 256,
}
NO_IDS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}


def norm(module: Any, x: torch.Tensor) -> torch.Tensor:
    """What transformers computes in float32 in every model, where exactness is measured in float64."""
    eps = getattr(module, "variance_epsilon", None) or module.eps
    out = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
    return out * (1.0 + module.weight) if type(module).__name__.startswith("Gemma") else module.weight * out


def exact(model: Any) -> Any:
    """``model`` without float32 in its norms."""
    for module in model.modules():
        if "RMSNorm" in type(module).__name__:
            module.forward = norm.__get__(module)
    return model


def result(
    model: Any, layout: str, chosen: Sequence[Sample], budget: int = 10_000
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logprobs by sample, and the gradient of a loss by every weight."""
    model.zero_grad()
    found = {}
    for batch in BATCHERS[layout](chosen, budget, model):
        rows = batch.forward(model)
        (rows.weight * rows.advantages * torch.exp(rows.logprobs - rows.old_logprobs)).sum().backward()
        for k, (sample, _) in enumerate(batch.placed):
            found[sample.trajectory] = rows.logprobs.detach()[rows.sample == k]
    gradient = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in model.parameters()])
    return torch.cat([found[k] for k in sorted(found)]), gradient


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    """Whether two runs ended with the same weights, bit for bit."""
    one, two = weights(a), weights(b)
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
