"""DCPO's clip: the rarer a token was, the further its ratio may go."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field

from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.ppo import clip
from agentrl.trainers.losses.registry import policy


@policy("dcpo")
def dcpo(
    rows: Rows,
    *,
    low: Annotated[float, Field(gt=0)] = 0.16,
    high: Annotated[float, Field(gt=0)] = 0.2,
    dual: Annotated[float, Field(gt=1)] = 10.0,
) -> torch.Tensor:
    """PPO's clip between ``(1 + sqrt(max(0, 1 - 4 low / q))) / 2`` and ``(1 + sqrt(1 + 4 high / q)) / 2`` -> [n].

    ``q`` is the old probability of the token. The upper bound is at most ``dual``, which is the dual clip too. It
    bounds ``|r - 1| r q`` rather than ``|r - 1|``.

    Source: DCPO (arXiv 2509.02333).

    Parity: bounds as in the authors' code (its default ``low`` is 0.2, its script's ``high`` 0.28).
    """
    q = rows.old_logprobs.exp()
    lowest = (1 + (1 - 4 * low / q).clamp(min=0).sqrt()) / 2
    highest = ((1 + (1 + 4 * high / q).sqrt()) / 2).clamp(max=dual)
    return clip(rows.ratio, rows.advantages, lowest, highest, dual)
