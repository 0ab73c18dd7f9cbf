"""HCPO's alignment: say with a short history what you would say with all of it."""

from __future__ import annotations

import torch

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.kl import k3
from agentrl.trainers.losses.registry import term


@term("consistency", needs=["full"])
def consistency(rows: Rows) -> torch.Tensor:
    """``exp(g) - g - 1`` -> [n], ``g = sg(full) - logp``: towards the policy that sees the whole history.

    ``full`` are the logprobs of the same tokens after everything that was said, by the weights that the update begins
    with; 0 where that does not fit into the policy's window. For context rules that leave something out, such as
    ``agent.context: history(2)``.

    Source: HCPO (HiconAgent), the low-variance KL between its short and its whole pass.

    Parity: the KL of the published code, where images are dropped within the model; own numeric case.
    """
    full = rows.columns["full"].to(rows.logprobs.dtype)
    return k3(rows.logprobs, torch.where(full.isnan(), rows.logprobs, full).detach())
