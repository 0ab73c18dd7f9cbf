"""What a critic minimises; :class:`agentrl.trainers.values.Critic` has the head and its optimiser."""

from __future__ import annotations

import torch


def value(values: torch.Tensor, old: torch.Tensor, returns: torch.Tensor, clip: float | None = 0.2) -> torch.Tensor:
    """``max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2) / 2`` -> [n], R what credit says V should have been.

    ``old`` are the values that credit was given. Without ``clip`` it is ``(V - R)^2 / 2``.

    Source: PPO (arXiv 1707.06347), clipped as in its code.

    Parity: by definition; own numeric case.
    """
    square = (values - returns).square()
    if clip is not None:
        near = old + (values - old).clamp(-clip, clip)
        square = torch.maximum(square, (near - returns).square())
    return square / 2
