"""AEPO's two changes to the loss (arXiv 2510.14545): advantages by entropy, and a clip that keeps its gradient."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch


def entropy_aware(
    advantages: npt.ArrayLike, entropy: npt.ArrayLike, weight: float = 0.2, zero_tol: float = 1e-9
) -> npt.NDArray[np.float64]:
    """``A (1 + weight z)`` [n], with z the entropies at zero mean and unit size (sample deviation) over the tokens.

    No gradient flows through z. With entropies that differ by less than ``zero_tol`` there is nothing to tell apart
    and the advantages stay; ``zero_tol=0``, as published, divides the rounding error of the mean by itself there.
    Below ``z = -1 / weight`` the sign turns, as it does in the published code.
    """
    a, h = np.asarray(advantages, np.float64), np.asarray(entropy, np.float64)
    if len(h) < 2:
        return a.copy()
    centred = h - h.mean()
    deviation = float(np.sqrt((centred**2).sum() / (len(h) - 1)))
    if deviation <= zero_tol:
        return a.copy()
    result: npt.NDArray[np.float64] = a * (1.0 + weight * centred / deviation)
    return result


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
