"""SAPO: a soft gate in place of a clip."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("sapo")
def sapo(
    rows: Rows, *, positive: Annotated[float, Field(gt=0)] = 1.0, negative: Annotated[float, Field(gt=0)] = 1.05
) -> torch.Tensor:
    """``-A sigmoid(t (r - 1)) 4 / t`` -> [n], with t = ``positive`` where A > 0, else ``negative``.

    Its slope at r = 1 is 1 for any t, and falls off smoothly on both sides. Aggregate by sequence.

    Source: SAPO (arXiv 2511.20347).

    Parity: formula as in TRL; own numeric case.
    """
    ratio = torch.exp((rows.logprobs - rows.old_logprobs).clamp(-20, 20))
    t = torch.full_like(ratio, negative).masked_fill(rows.advantages > 0, positive)
    return -rows.advantages * torch.sigmoid(t * (ratio - 1)) * 4 / t
