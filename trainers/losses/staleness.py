"""Corrections for samples of another policy than the one the ratio is taken to: sampler against old logprobs."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import correction

Level = Literal["token", "sequence", "geometric"]
Positive = Annotated[float, Field(gt=0)]


@correction("tis")
def tis(
    rows: Rows, *, high: Positive = 2.0, low: Annotated[float, Field(ge=0)] = 0.0, level: Level = "token"
) -> torch.Tensor:
    """``clip(w, low, high)`` -> [n], with ``w = exp(old - sampler)``: truncated importance sampling.

    ``level``: w of the token, the product over the sequence, or its geometric mean. With ``loss.old: sampler`` w is 1.

    Source: truncated importance sampling for engine mismatch (fengyao.notion.site/off-policy-rl), as in verl and TRL.

    Parity: bounds as in verl (token 2, sequence 2 to 10).
    """
    return mismatch(rows, level).clamp(low, high)


@correction("mis")
def mis(rows: Rows, *, low: Positive = 0.5, high: Positive = 5.0, level: Level = "token") -> torch.Tensor:
    """``w`` where ``low <= w <= high``, else 0 -> [n]: masked importance sampling. ``icepop`` is this by token.

    Source: IcePop (ring-team, arXiv 2510.18855); masked importance sampling as in verl.

    Parity: bounds 0.5 and 5 as in the paper; some code has 2.
    """
    weight = mismatch(rows, level)
    return torch.where((weight >= low) & (weight <= high), weight, torch.zeros_like(weight))


@correction("veto")
def veto(rows: Rows, *, least: Positive = 1e-4) -> torch.Tensor:
    """0 for every row of a sequence that has a token with ``w < least``, else 1 -> [n].

    Source: catastrophic-token veto, as in verl and ROLL.

    Parity: by definition.
    """
    bad = rows.total((mismatch(rows, "token") < least).to(rows.logprobs.dtype))
    return (bad == 0).to(rows.logprobs.dtype)[rows.sample]


@correction("opsm")
def opsm(rows: Rows, *, delta: Positive = 0.5) -> torch.Tensor:
    """1 where A >= 0 or the sequence's ``mean_t(sampler - logp) <= delta``, else 0 -> [n].

    Off-policy sequences may teach what was good, and not what was bad.

    Source: off-policy sequence masking of DeepSeek-V3.2 (arXiv 2512.02556).

    Parity: formula of the report.
    """
    drift = rows.mean(rows.columns["sampler"] - rows.logprobs)[rows.sample]
    return ((rows.advantages >= 0) | (drift <= delta)).to(rows.logprobs.dtype)


def mismatch(rows: Rows, level: Level) -> torch.Tensor:
    """``exp(old - sampler)`` [n] by token, or of the whole sequence for each of its rows; log-ratios within 20."""
    gap = (rows.old_logprobs - rows.columns["sampler"]).detach().to(rows.logprobs.dtype)
    if level != "token":
        gap = (rows.total(gap) if level == "sequence" else rows.mean(gap))[rows.sample]
    return torch.exp(gap.clamp(-20, 20))
