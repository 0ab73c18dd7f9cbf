"""GMPO: the geometric mean of clipped token ratios."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import policy


@policy("gmpo")
def gmpo(rows: Rows, *, bound: Annotated[float, Field(gt=0)] = 0.4) -> torch.Tensor:
    """``-A exp(mean_t l_t)`` -> [n], ``l = log r`` but at most ``bound`` where A > 0, at least ``-bound`` elsewhere.

    As in PPO the clip is one-sided: it takes effect only where the ratio has already gone the way of the advantage.
    With one advantage a sequence this is the paper's; otherwise each row keeps its own. Aggregate by sequence.

    Source: GMPO (arXiv 2507.20673).

    Parity: sign-aware clip of log-ratios as in the authors' code; own numeric case.
    """
    gap = rows.logprobs - rows.old_logprobs
    kept = torch.where(rows.advantages > 0, gap.clamp(max=bound), gap.clamp(min=-bound))
    return -rows.advantages * torch.exp(rows.mean(kept))[rows.sample]
