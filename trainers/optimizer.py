"""The optimiser: AdamW, or Muon on the weight matrices with AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Optimizer:
    """One or two torch optimisers that step together under one rate.

    With ``muon`` (a learning rate) the matrices between embedding and head go to Muon (Jordan et al. 2024,
    kellerjordan.github.io/posts/muon); docs/results/01-spine.md compares the two on cloning.
    """

    def __init__(
        self, model: nn.Module, lr: float, *, muon: float | None = None, weight_decay: float = 0.0, beta2: float = 0.95
    ) -> None:
        ends = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[operator]
        outer = {id(module.weight) for module in ends if module is not None}
        learning = [p for p in model.parameters() if p.requires_grad]
        inner = [p for p in learning if muon and p.ndim == 2 and id(p) not in outer]
        chosen = {id(p) for p in inner}
        rest = [p for p in learning if id(p) not in chosen]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, betas=(0.9, beta2))
        ]
        if inner and muon:
            self.parts.append(torch.optim.Muon(inner, lr=muon, weight_decay=weight_decay, momentum=0.95))

    def step(self, rate: float) -> None:
        """One step at ``rate`` (0 to 1) of the full learning rates; gradients are cleared."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = part.defaults["lr"] * rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
