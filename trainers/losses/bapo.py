"""BAPO: bounds of the clip that are moved until good tokens have their say."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.ppo import clip
from agentrl.trainers.losses.registry import policy

Positive = Annotated[float, Field(gt=0)]


@policy("bapo", whole=True)
def bapo(
    rows: Rows,
    *,
    target: Positive = 0.5,
    low: Positive = 0.8,
    low_most: Positive = 0.95,
    high: Positive = 1.2,
    high_most: Positive = 2.0,
    stride: Positive = 0.05,
    dual: Annotated[float, Field(gt=1)] | None = 3.0,
) -> torch.Tensor:
    """PPO's clip between ratios ``low`` and ``high`` -> [n], which rise by ``stride`` while pos / neg < ``target``.

    ``pos = sum_{A>0} min(r, high) A``, ``neg = sum_{A<0} max(r, low) |A|``, over all rows of the optimiser step. First
    ``low`` rises, up to ``low_most``, then ``high`` up to ``high_most``, as in the released code; the paper nests them.

    Source: BAPO (arXiv 2510.18927).

    Parity: search order and defaults of the authors' code; own numeric case.
    """
    bottom, top = bounds(rows.ratio.detach(), rows.advantages, target, low, low_most, high, high_most, stride)
    return clip(rows.ratio, rows.advantages, bottom, top, dual)


def bounds(
    ratio: torch.Tensor,
    advantages: torch.Tensor,
    target: float,
    low: float,
    low_most: float,
    high: float,
    high_most: float,
    stride: float,
) -> tuple[float, float]:
    """The bounds that BAPO's search ends at."""
    good, bad = advantages > 0, advantages < 0

    def balanced() -> bool:
        positive = float((ratio.clamp(max=high) * advantages)[good].sum())
        negative = float((ratio.clamp(min=low) * -advantages)[bad].sum())
        return positive >= target * (negative + 1e-8)

    while low + 1e-9 < low_most and not balanced():
        low = min(low_most, low + stride)
    while high + 1e-9 < high_most and not balanced():
        high = min(high_most, high + stride)
    return low, high
