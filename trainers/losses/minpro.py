"""MinPRO: a token weighs no more than the least likely part of what led to it."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("minpro")
def minpro(rows: Rows, *, high: Annotated[float, Field(gt=0)] = 5.0) -> torch.Tensor:
    """``-sg(min(r_t min(1, min_{j<t} r_j), high)) A logp`` -> [n]; j runs over the sequence's earlier sampled tokens.

    On-policy every weight is 1. The bound above is CISPO's.

    Source: MinPRO, minimum prefix ratio; the formula is inferred from its title and a review.

    Parity: none; the exact truncation of the paper is not confirmed.
    """
    gap = (rows.logprobs - rows.old_logprobs).detach()
    least = torch.zeros_like(gap)
    for k in range(int(rows.sample.max()) + 1 if len(gap) else 0):
        own = torch.nonzero(rows.sample == k)[:, 0]
        least[own[1:]] = gap[own].cummin(0).values[:-1].clamp(max=0)
    return -torch.exp(gap + least).clamp(max=high) * rows.advantages * rows.logprobs
