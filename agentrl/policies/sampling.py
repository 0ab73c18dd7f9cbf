"""Tokens drawn from logits."""

from __future__ import annotations

import torch


def sample(
    logits: torch.Tensor, temperatures: torch.Tensor, draws: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One token a row by the inverse of the cumulative distribution. logits [B, V]; draws [B] in [0, 1).

    Returns ids [B], natural-log probabilities [B] at the temperature, entropies [B] in nats. Temperature 0 takes the
    likeliest token and reports its probability at temperature 1.
    """
    greedy = temperatures == 0
    logp = torch.log_softmax(logits / torch.where(greedy, torch.ones_like(temperatures), temperatures)[:, None], -1)
    p = logp.exp()
    cdf = p.double().cumsum(-1)
    ids = torch.searchsorted(cdf, (draws * cdf[:, -1])[:, None], right=True)[:, 0].clamp_(max=logits.shape[-1] - 1)
    ids = torch.where(greedy, logits.argmax(-1), ids)
    entropies = -(p * logp.clamp(min=-1e9)).sum(-1)
    return ids, logp.gather(-1, ids[:, None])[:, 0], entropies
