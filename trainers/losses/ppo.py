"""PPO's clipped objective, which GRPO uses too, with dual clip."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy

Bound = float | torch.Tensor


@policy("ppo")
def ppo(
    rows: Rows,
    *,
    low: Annotated[float, Field(gt=0)] = 0.2,
    high: Annotated[float, Field(gt=0)] = 0.2,
    dual: Annotated[float, Field(gt=1)] | None = 3.0,
) -> torch.Tensor:
    """``max(-A r, -A clip(r, 1 - low, 1 + high))`` -> [n]; where A < 0 at most ``-A dual``. ``r = exp(logp - old)``.

    ``dapo`` is this with ``high = 0.28``; aggregate by token for it.

    Source: PPO (arXiv 1707.06347); dual clip (arXiv 1912.09729); DAPO (arXiv 2503.14476).

    Parity: numeric cases of the published code, values and gradients.
    """
    return clip(rows.ratio, rows.advantages, 1 - low, 1 + high, dual)


def clip(ratio: torch.Tensor, advantages: torch.Tensor, low: Bound, high: Bound, dual: float | None) -> torch.Tensor:
    """PPO's pessimistic bound [n] between the ratios ``low`` and ``high``, each one number or [n]."""
    low, high = (torch.as_tensor(bound, dtype=ratio.dtype, device=ratio.device) for bound in (low, high))
    loss = torch.maximum(-advantages * ratio, -advantages * ratio.clamp(low, high))
    return loss if dual is None else torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)
