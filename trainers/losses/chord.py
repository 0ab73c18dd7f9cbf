"""CHORD: reinforcement and imitation in one loss, imitation fading."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.ppo import clip
from agentrl.trainers.losses.registry import policy

Share = Annotated[float, Field(ge=0, le=1)]


@policy("chord", needs=["demonstration"])
def chord(
    rows: Rows,
    *,
    peak: Share = 0.5,
    valley: Share = 0.02,
    warmup: Annotated[int, Field(ge=0)] = 200,
    decay: Annotated[int, Field(ge=1)] = 400,
    phi: bool = True,
    low: Annotated[float, Field(gt=0)] = 0.2,
    high: Annotated[float, Field(gt=0)] = 0.2,
) -> torch.Tensor:
    """``(1 - mu) PPO`` on the policy's rows, ``-mu sg(p (1 - p)) logp`` on demonstrations' -> [n].

    ``mu`` rises linearly to ``peak`` over ``warmup`` optimiser steps, then falls by a cosine to ``valley``. The column
    ``demonstration`` is 1 for rows of an expert. Without ``phi`` imitation is plain: no ``p (1 - p)``.

    Source: CHORD (arXiv 2508.11408).

    Parity: schedule and defaults of the authors' configuration; own numeric case.
    """
    mu = share(rows.step, peak, valley, warmup, decay)
    p = rows.logprobs.detach().exp()
    imitate = -(p * (1 - p) if phi else torch.ones_like(p)) * rows.logprobs
    learn = clip(rows.ratio, rows.advantages, 1 - low, 1 + high, None)
    return torch.where(rows.columns["demonstration"] > 0.5, mu * imitate, (1 - mu) * learn)


def share(step: int, peak: float, valley: float, warmup: int, decay: int) -> float:
    """CHORD's mu at an optimiser step."""
    if step < warmup:
        return peak * (step + 1) / warmup
    along = min(1.0, (step - warmup) / decay)
    return valley + (peak - valley) * 0.5 * (1 + math.cos(math.pi * along))
