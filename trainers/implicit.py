"""An implicit process reward model: a language model that learns from outcomes, and whose logprobs tell of tokens."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.recipe import PrimeConfig


class ImplicitReward:
    """``q_t = log p_model - log p_reference`` of a token; both models begin as the policy, and only ``model`` learns.

    It learns that ``sigmoid(beta sum q)`` is the chance of success: one step a batch on the cross-entropy with what
    happened, after the batch was scored. Costs two copies of the policy, three forward passes and a backward one.

    Source: PRIME (arXiv 2502.01456), its released code as read; there too scores are those before the step.
    """

    def __init__(self, config: PrimeConfig, model: Any) -> None:
        self.config = config
        self.model = copy.deepcopy(model).train()
        self.reference = copy.deepcopy(model).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.lr, weight_decay=0.0, betas=(0.9, 0.95))

    def score(
        self, table: TurnTable, samples: Sequence[Sample], batcher: str, positions: int
    ) -> tuple[TurnTable, dict[str, float]]:
        """The table with ``token_rewards``, and how well they told successes from failures.

        ``samples``: of its trajectories, a row for each sampled token (:func:`agentrl.trainers.values.spoken`).
        """
        batches = BATCHERS[batcher](samples, positions, self.model)
        q = np.full(len(table.token_turn), np.nan)
        number = {id(sample): _numbers(sample, table) for sample in samples}
        with torch.no_grad():
            for batch in batches:
                gap = batch.forward(self.model).logprobs - batch.forward(self.reference).logprobs
                for sample, where, given in batch.by_sample(gap.double().cpu().numpy()):
                    q[number[id(sample)][where]] = given
        owner = table.trajectory[table.token_turn]
        logit = self.config.beta * np.bincount(owner, q, len(table.ids))
        chance = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
        won = table.success.astype(np.float64)
        likely = np.where(table.success, chance, 1 - chance)
        told = {
            "loss": float(-np.log(np.maximum(likely, 1e-300)).mean()),
            "accuracy": float(((chance > 0.5) == table.success).mean()),
        }
        # The cross-entropy's gradient by each q is the same over a trajectory, so batches need not hold whole ones.
        slope = self.config.beta * (chance - won) / len(won)
        for batch in batches:
            rows = batch.forward(self.model)
            owners = [sample.trajectory for sample, where in batch.placed for _ in where]
            weight = torch.as_tensor(slope[owners], dtype=rows.logprobs.dtype, device=rows.logprobs.device)
            torch.autograd.backward((weight * rows.logprobs).sum())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip, error_if_nonfinite=True)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return replace(table, token_rewards=q), told | {"grad_norm": float(norm)}

    def state(self) -> dict[str, Any]:
        models = {"model": self.model.state_dict(), "reference": self.reference.state_dict()}
        return {**models, "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.reference.load_state_dict(state["reference"])
        self.optimizer.load_state_dict(state["optimizer"])


def _numbers(sample: Sample, table: TurnTable) -> npt.NDArray[np.int64]:
    """[L] of each of a sample's ids, its number among the table's sampled tokens; -1 where it was not sampled."""
    found = np.full(len(sample.ids), -1, np.int64)
    where, number = sample.numbered(table.first_token)
    found[where] = number
    return found
