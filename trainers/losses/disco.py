"""DisCO: tell right answers from wrong ones, with hard negatives weighing more, and a hinge on the divergence."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy

Positive = Annotated[float, Field(gt=0)]


@policy("disco", needs=["success", "group"], whole=True)
def disco(
    rows: Rows,
    *,
    score: Literal["logprob", "ratio"] = "logprob",
    tau: Positive | None = None,
    beta: Annotated[float, Field(ge=0)] = 1e3,
    delta: Positive = 1e-4,
) -> torch.Tensor:
    """``-mean over groups of mean_{i right} [s_i - tau log mean_{j wrong} exp(s_j / tau)] + hinge`` -> one number.

    ``s``: a sample's mean logprob, or mean ratio; ``tau``: 10 or 1 by that. Groups without both kinds count in the mean
    as 0. ``hinge = beta sg(max(0, KL - delta)) KL``, with KL the mean of old - new logprobs. Advantages are not used.

    Source: DisCO (arXiv 2505.12366).

    Parity: the authors' code, both scores; own numeric case.
    """
    scores = rows.mean(rows.logprobs if score == "logprob" else rows.ratio)
    tau = tau if tau is not None else 10.0 if score == "logprob" else 1.0
    right, groups = rows.mean(rows.columns["success"]) > 0.5, rows.mean(rows.columns["group"]).round()
    gain = scores.sum() * 0
    unique = torch.unique(groups)
    for group in unique:
        own = groups == group
        good, bad = scores[own & right], scores[own & ~right]
        if len(good) and len(bad):
            hard = tau * (torch.logsumexp(bad / tau, 0) - math.log(len(bad)))
            gain = gain + good.mean() - hard
    kl = (rows.old_logprobs - rows.logprobs).mean()
    return -gain / len(unique) + beta * (kl - delta).clamp(min=0).detach() * kl
