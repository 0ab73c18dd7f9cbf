"""DPPO: a trust region in probabilities, not in ratios, against the policy that sampled."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("dppo", needs=["sampler"])
def dppo(
    rows: Rows, *, delta: Annotated[float, Field(gt=0)] = 0.2, square: Annotated[float, Field(ge=0)] = 1e-3
) -> torch.Tensor:
    """``-A r`` but 0 where A and p - q have one sign and ``|p - q| > delta``, plus ``square (log r)^2`` -> [n].

    ``p`` and ``q`` are the token's probabilities now and when it was sampled, ``r = p / q``.

    Source: DPPO with the binary total variation, as in prime-rl's default loss.

    Parity: formula as in prime-rl; own numeric case.
    """
    gap = rows.logprobs - rows.columns["sampler"]
    moved = (rows.logprobs.exp() - rows.columns["sampler"].exp()).detach()
    inside = ~((moved * rows.advantages > 0) & (moved.abs() > delta))
    return -rows.advantages * torch.exp(gap) * inside + square * gap.square()
