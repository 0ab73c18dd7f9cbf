"""AEPO's change to the loss (arXiv 2510.14545): a clip that keeps its gradient. Its advantages: credit/aepo.py."""

from __future__ import annotations

import torch


def aepo_clip(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    low: float = 0.2,
    high: float = 0.28,
    dual: float | None = 3.0,
) -> torch.Tensor:
    """PPO's clipped loss [n] with the upper bound ``(1 + high) r / stop_gradient(r)``.

    Where A > 0 and r > 1 + high the value is PPO's, ``-A (1 + high)``, and so is the gradient by the log-probability
    where PPO's is 0. Everywhere else it is PPO with dual clip.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    above = (1 + high) * ratio / ratio.detach()
    clipped = torch.where(ratio > 1 + high, above, ratio.clamp(min=1 - low))
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return loss if dual is None else torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)
