"""Terms that move the entropy: a bonus, and EPO's band."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.registry import term


@term("entropy", needs=["entropies"])
def entropy(rows: Rows) -> torch.Tensor:
    """``-H`` -> [n]: with a positive weight the policy stays more random. Exact, over the whole vocabulary.

    Source: Williams 1992; A3C (arXiv 1602.01783).

    Parity: by definition.
    """
    return -rows.entropies


@term("epo", needs=["entropies", "episode_turn"], whole=True)
def epo(
    rows: Rows,
    *,
    low: Annotated[float, Field(ge=0)] = 0.5,
    high: Annotated[float, Field(gt=0)] = 1.5,
    flat: Annotated[float, Field(ge=0)] | None = None,
) -> torch.Tensor:
    """``relu(low H_s - H) + relu(H - high H_s)`` -> [n], H_s: the mean entropy so far at this step of an episode.

    Within the band, and before anything is known of a step, it is 0. ``flat`` gives that number outside the band in
    place of the distance: the released code's penalty, which carries no gradient.

    Source: EPO (arXiv 2509.22576).

    Parity: the band of the authors' script; the distance is what the paper describes and their code is not.
    """
    steps = rows.columns["episode_turn"].long().tolist()
    past: dict[int, list[float]] = rows.state.setdefault("epo", {})  # step -> sum of entropies, rows
    mean = rows.entropies.new_tensor([past[s][0] / past[s][1] if s in past else float("nan") for s in steps])
    outside = (low * mean - rows.entropies).clamp(min=0) + (rows.entropies - high * mean).clamp(min=0)
    outside = torch.where(mean.isnan(), torch.zeros_like(outside), outside)
    for s, h in zip(steps, rows.entropies.detach().tolist(), strict=True):
        total = past.setdefault(s, [0.0, 0.0])
        total[0], total[1] = total[0] + h, total[1] + 1
    return outside if flat is None else flat * (outside > 0).to(outside.dtype)
