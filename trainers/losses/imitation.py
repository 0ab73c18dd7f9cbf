"""Terms that imitate: what succeeded, or a teacher."""

from __future__ import annotations

from typing import Literal

import torch

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import term


@term("ce", needs=["success"])
def ce(rows: Rows, *, on: Literal["success", "positive", "all"] = "success") -> torch.Tensor:
    """``-logp`` -> [n] on rows of successful episodes, of positive advantage, or all; 0 elsewhere.

    Source: self-imitation; rejection-sampling fine-tuning as ReST-EM (arXiv 2312.06585).

    Parity: by definition.
    """
    chosen = {"success": rows.columns["success"] > 0.5, "positive": rows.advantages > 0}.get(on)
    return -rows.logprobs if chosen is None else -rows.logprobs * chosen


@term("distil", needs=["teacher"])
def distil(rows: Rows) -> torch.Tensor:
    """``-r sg(teacher - old)`` -> [n]: on-policy distillation, the teacher's logprobs of what the student sampled.

    Its gradient is that of KL(student || teacher) on the student's own samples.

    Source: on-policy distillation (thinkingmachines.ai/blog/on-policy-distillation); as in prime-rl and Trinity-RFT.

    Parity: by definition.
    """
    return -rows.ratio * (rows.columns["teacher"] - rows.old_logprobs).detach()
