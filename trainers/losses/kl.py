"""The divergence from a frozen reference, by one of Schulman's three estimates."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import term


@term("kl", needs=["reference"])
def kl(rows: Rows, *, estimate: Literal["k1", "k2", "k3"] = "k3") -> torch.Tensor:
    """``k1 = logp - ref``, ``k2 = k1^2 / 2``, ``k3 = exp(-k1) + k1 - 1`` -> [n], with k1 kept in [-10, 10].

    The reference is the policy that the run began with. As a loss only k2 has the gradient of KL(policy || reference)
    in expectation on the policy's own samples; k3's is that of the reverse, k1's is zero.

    Source: Schulman, "Approximating KL divergence" (joschu.net/blog/kl-approx.html); k3 as in GRPO (arXiv 2402.03300).

    Parity: k3 with its bounds as in verl; k1 and k2 by their definition.
    """
    gap = (rows.logprobs - rows.columns["reference"]).clamp(-10, 10)
    if estimate == "k1":
        return gap
    return gap.square() / 2 if estimate == "k2" else k3(rows.logprobs, rows.columns["reference"])


def k3(logprobs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """``exp(q - p) - (q - p) - 1`` [n], never negative, with q - p kept in [-10, 10]."""
    gap = (reference - logprobs).clamp(-10, 10)
    return torch.exp(gap) - gap - 1
