"""AEPO's change to the loss (arXiv 2510.14545): a clip that keeps its gradient. Its advantages: credit/aepo.py."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("aepo")
def aepo(
    rows: Rows,
    *,
    low: Annotated[float, Field(gt=0)] = 0.2,
    high: Annotated[float, Field(gt=0)] = 0.28,
    dual: Annotated[float, Field(gt=1)] | None = 3.0,
) -> torch.Tensor:
    """PPO with the upper bound ``(1 + high) r / stop_gradient(r)`` -> [n]: beyond it the gradient survives.

    Where A > 0 and r > 1 + high the value is PPO's, ``-A (1 + high)``, and so is the gradient by the log-probability
    where PPO's is 0. Everywhere else it is PPO with dual clip.

    Source: AEPO (arXiv 2510.14545).

    Parity: numeric cases of the published code, values and gradients.
    """
    return kept_clip(rows.ratio, rows.advantages, 1 - low, 1 + high, dual)


def kept_clip(
    ratio: torch.Tensor, advantages: torch.Tensor, low: float, high: float, dual: float | None
) -> torch.Tensor:
    """PPO's bound [n] with a gradient above ``high``."""
    clipped = torch.where(ratio > high, high * ratio / ratio.detach(), ratio.clamp(min=low))
    loss = torch.maximum(-advantages * ratio, -advantages * clipped)
    return loss if dual is None else torch.where(advantages < 0, torch.minimum(loss, -advantages * dual), loss)
