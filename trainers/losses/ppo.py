"""PPO's clipped objective (Schulman 2017, arXiv 1707.06347), with dual clip (Ye et al. 2020, arXiv 1912.09729)."""

from __future__ import annotations

import torch


def ppo_clip(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    low: float = 0.2,
    high: float = 0.2,
    dual: float | None = 3.0,
) -> torch.Tensor:
    """Loss [n] = max(-A r, -A clip(r, 1-low, 1+high)); where A < 0 at most -A * dual. r = exp(logp - old)."""
    ratio = torch.exp(logprobs - old_logprobs)
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(1 - low, 1 + high))
    if dual is None:
        return loss
    return torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)


def kl_k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Schulman's k3 estimate [n] of KL(policy || reference): exp(q - p) - (q - p) - 1, with q - p kept in [-10, 10]."""
    gap = (reference - logprobs).clamp(-10, 10)
    return torch.exp(gap) - gap - 1
