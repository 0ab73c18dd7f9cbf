"""DPO on whole episodes, of which only what the policy wrote counts."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("dpo", needs=["reference", "success", "group"], whole=True)
def dpo(rows: Rows, *, beta: Annotated[float, Field(gt=0)] = 0.1) -> torch.Tensor:
    """``-mean log sigmoid(beta (d_w - d_l))`` over all pairs of a success and a failure of one group -> one number.

    ``d`` is the sum over a sample's sampled tokens of logp - ref: observations are masked. No pair, no loss.

    Source: DPO (arXiv 2305.18290), masked by turns.

    Parity: by definition; own numeric case.
    """
    gain = rows.total(rows.logprobs - rows.columns["reference"])
    right, groups = rows.mean(rows.columns["success"]) > 0.5, rows.mean(rows.columns["group"]).round()
    pairs = right[:, None] & ~right[None, :] & (groups[:, None] == groups[None, :])
    if not pairs.any():
        return gain.sum() * 0
    return regret(gain[:, None] - gain[None, :], beta)[pairs].mean()


def regret(gap: torch.Tensor, beta: float) -> torch.Tensor:
    """``-log sigmoid(beta gap)``: how far a preference by ``gap`` in log ratios is from a sure one."""
    return -logsigmoid(beta * gap)
