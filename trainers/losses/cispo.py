"""CISPO: the clipped ratio is a weight and not a gate, so no token loses its gradient."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("cispo")
def cispo(
    rows: Rows, *, high: Annotated[float, Field(gt=0)] = 5.0, low: Annotated[float, Field(ge=0)] = 0.0
) -> torch.Tensor:
    """``-sg(clip(r, low, high)) A logp`` -> [n]. The bounds are ratios, not distances from 1.

    Source: MiniMax-M1 (arXiv 2506.13585); bounds as in ScaleRL (arXiv 2510.13786) and TRL.

    Parity: formula as in TRL; verl clips to [1 - low, 1 + high] instead.
    """
    return -rows.ratio.detach().clamp(low, high) * rows.advantages * rows.logprobs
