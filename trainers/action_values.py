"""A model of action values: how likely an episode is to succeed after what was just done."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.credit.agentprm import targets
from agentrl.trainers.recipe import AgentPRMConfig
from agentrl.trainers.values import ValueHead


class ActionValues:
    """``Q(h, a) = sigmoid(w . s + b)``, ``s`` the state of a copy of the policy before the turn's last token.

    That token is the stop token, so the state has read the whole action. Copy and head learn, after a batch was
    scored, in ``epochs`` steps on the cross-entropy with :func:`agentrl.trainers.credit.agentprm.targets`.

    Source: AgentPRM (Choudhury, arXiv 2502.10325): targets and loss; a copy of the policy with a head is its model.
    """

    def __init__(self, config: AgentPRMConfig, model: Any) -> None:
        self.config = config
        self.model = copy.deepcopy(model).train()
        self.head = ValueHead(model.config.get_text_config().hidden_size).to(model.device)
        self.parameters = [*self.model.parameters(), *self.head.parameters()]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.lr, weight_decay=0.0, betas=(0.9, 0.95))

    def score(
        self, table: TurnTable, samples: Sequence[Sample], batcher: str, positions: int
    ) -> tuple[TurnTable, dict[str, float]]:
        """The table with the score ``action_value``, and how far it was from what happened.

        ``samples``: of its trajectories, a row for each sampled token (:func:`agentrl.trainers.values.spoken`).
        """
        batches = BATCHERS[batcher](samples, positions, self.model)
        wanted = targets(table, self.config.gamma)
        ends = [_ends(batch.placed) for batch in batches]  # rows, and whose turns they are
        found = np.full(len(table), np.nan)
        with torch.no_grad():
            for batch, (rows, turns) in zip(batches, ends, strict=True):
                found[turns] = torch.sigmoid(self.head(batch.states(self.model)[rows])).double().cpu().numpy()
        error = float(np.abs(found - wanted).mean())
        for _ in range(self.config.epochs):
            for batch, (rows, turns) in zip(batches, ends, strict=True):
                logits = self.head(batch.states(self.model)[rows])
                goal = torch.as_tensor(wanted[turns], dtype=logits.dtype, device=logits.device)
                loss = binary_cross_entropy_with_logits(logits, goal, reduction="sum") / len(table)
                torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.parameters, self.config.grad_clip, error_if_nonfinite=True)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        scores = {**table.scores, "action_value": found}
        return replace(table, scores=scores), {"error": error, "mean": float(found.mean())}

    def state(self) -> dict[str, Any]:
        states = {"model": self.model.state_dict(), "head": self.head.state_dict()}
        return {**states, "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def _ends(placed: Sequence[tuple[Sample, Any]]) -> tuple[Any, Any]:
    """The rows of a batch that stand at the last token of a turn, and the numbers of those turns."""
    turn = np.concatenate([sample.turn[where] for sample, where in placed])
    rows = np.flatnonzero(np.diff(turn, append=-1))
    return rows, turn[rows]
