"""GSPO: one ratio a sequence, the geometric mean of its tokens' ratios."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.ppo import clip
from agentrl.trainers.losses.registry import policy

Positive = Annotated[float, Field(gt=0)]
LARGEST = 10.0  # of a log-ratio


@policy("gspo")
def gspo(rows: Rows, *, low: Positive = 3e-4, high: Positive = 4e-4) -> torch.Tensor:
    """``s = exp(mean_t log r_t)``; ``max(-A s, -A clip(s, 1 - low, 1 + high))`` -> [n], the same for a sequence's rows.

    The mean is over sampled tokens only; tool output and observations do not count. A sequence is one sample: a whole
    episode where turns continue each other. Aggregate by sequence.

    Source: GSPO (arXiv 2507.18071), defaults of its experiments.

    Parity: formula as in verl and TRL; own numeric case.
    """
    log_ratio = (rows.logprobs - rows.old_logprobs).clamp(max=LARGEST)
    return clip(torch.exp(rows.mean(log_ratio))[rows.sample], rows.advantages, 1 - low, 1 + high, None)


@policy("gspo-token")
def gspo_token(rows: Rows, *, low: Positive = 3e-4, high: Positive = 4e-4) -> torch.Tensor:
    """``s_t = sg(s) p_t / sg(p_t)``, with GSPO's s: its value, and a gradient that may differ by token -> [n].

    With one advantage a sequence this is GSPO; with one a turn each token keeps its own.

    Source: GSPO (arXiv 2507.18071), section on the token-level variant.

    Parity: formula as in verl and TRL; own numeric case.
    """
    log_ratio = rows.mean((rows.logprobs - rows.old_logprobs).detach())[rows.sample]
    ratio = torch.exp((log_ratio + rows.logprobs - rows.logprobs.detach()).clamp(max=LARGEST))
    return clip(ratio, rows.advantages, 1 - low, 1 + high, None)
