"""A critic: a value head on the policy's last hidden state, what it expects of each turn, and its loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from agentrl.trainers.batching import BATCHERS, Rows, Sample
from agentrl.trainers.credit.registry import Bound
from agentrl.trainers.credit.table import Floats, TurnTable
from agentrl.trainers.losses import value as losses
from agentrl.trainers.recipe import ValueConfig
from agentrl.types import IntArray, Trajectory


class ValueHead(nn.Module):
    """``V = w . h + b`` of hidden states [n, H] -> [n]; 0 everywhere at first."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(hidden.to(self.linear.weight.dtype)).squeeze(-1)
        return found


class Critic:
    """The head with its optimiser, and the columns that it gives."""

    def __init__(self, config: ValueConfig, model: Any) -> None:
        self.config = config
        self.head = ValueHead(model.config.get_text_config().hidden_size).to(model.device)
        self.optimizer = torch.optim.AdamW(self.head.parameters(), lr=config.lr, weight_decay=0.0, betas=(0.9, 0.95))
        self.count = 1

    def values(self, model: Any, samples: Sequence[Sample], batcher: str, positions: int) -> list[Floats]:
        """Of each sample [L]: the value of the state before each sampled token, nan elsewhere."""
        found = [np.full(len(sample.ids), np.nan) for sample in samples]
        of = {id(sample): values for sample, values in zip(samples, found, strict=True)}
        with torch.no_grad():
            for batch in BATCHERS[batcher](samples, positions, model):
                for sample, where, given in batch.by_sample(self.head(batch.states(model)).double().cpu().numpy()):
                    of[id(sample)][where] = given
        return found

    def aim(self, samples: Sequence[Sample]) -> None:
        """Count the targets of an optimiser step: each weighs the same."""
        self.count = max(1, sum(int(np.isfinite(sample.columns["returns"]).sum()) for sample in samples))

    def loss(self, rows: Rows) -> torch.Tensor:
        """The loss ``value`` of rows that have a target (others: nan), summed with one weight a target."""
        at = torch.isfinite(rows.columns["returns"])
        fixed = rows.hidden[at].detach()
        share = self.config.trunk  # the same number, with this share of its gradient
        values = self.head(fixed + share * (rows.hidden[at] - fixed) if share else fixed)
        old, returns = rows.columns["values"][at], rows.columns["returns"][at]
        return losses.value(values, old, returns, self.config.clip).sum() / self.count

    def step(self, rate: float, grad_clip: float) -> float:
        """One optimiser step at ``rate`` (0 to 1) of the learning rate; the norm of the gradient."""
        norm = nn.utils.clip_grad_norm_(self.head.parameters(), grad_clip, error_if_nonfinite=True)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def state(self) -> dict[str, Any]:
        return {"head": self.head.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        self.head.load_state_dict(state["head"])
        self.optimizer.load_state_dict(state["optimizer"])


def scored(
    table: TurnTable, samples: Sequence[Sample], values: Sequence[Floats], last: Mapping[str, float]
) -> TurnTable:
    """The table with what the critic expects: by token, of each turn before its first token, and after the last one.

    ``values``: of each sample; ``last``: by trajectory, of what it would have been asked next.
    """
    tokens = np.full(len(table.token_turn), np.nan)
    for sample, value in zip(samples, values, strict=True):
        where, number = sample.numbered(table.first_token)
        tokens[number] = value[where]
    turns = np.full(len(table), np.nan)
    spoken = table.tokens > 0
    turns[spoken] = tokens[table.first_token[spoken]]
    after = [last.get(id, known) for id, known in zip(table.ids, table.last_value, strict=True)]
    return replace(table, values=turns, token_values=tokens, last_value=np.array(after))


def teach(samples: Sequence[Sample], table: TurnTable, teacher: Bound) -> dict[str, float]:
    """Give the samples the columns ``values`` and ``returns`` (nan where there is none to learn), by the estimator.

    The share of the returns' variance that the values explain is in the metrics: 1 at best, 0 for a constant.
    """
    assert teacher.plugin.targets is not None
    targets: Floats = teacher.plugin.targets(table, **teacher.options)
    returns, values = np.full(len(table.token_turn), np.nan), table.token_values
    at = np.arange(len(returns)) if teacher.plugin.per_token else table.first_token
    returns[at] = targets
    for sample in samples:
        where, number = sample.numbered(table.first_token)
        for name, column in (("values", values), ("returns", returns)):
            sample.columns[name] = np.full(len(sample.ids), np.nan, np.float32)
            sample.columns[name][where] = column[number]
    spread = float(np.var(targets))
    return {
        "mean": float(np.mean(values[at])),
        "explained_variance": 1 - float(np.var(targets - values[at])) / spread if spread > 1e-12 else 0.0,
    }


def spoken(played: Sequence[Trajectory], start: Sequence[int]) -> list[Sample]:
    """One sample a segment, a row for each token of a turn, also of turns that are not trained.

    ``start``: the number, in the table, of each trajectory's first turn.
    """
    samples = []
    for index, (trajectory, first) in enumerate(zip(played, start, strict=True)):
        for segment in trajectory.segments():
            turn = np.where(segment.turn >= 0, segment.turn + first, -1)
            samples.append(Sample.plain(segment.ids, turn >= 0, turn, index, images=segment.images))
    return samples


def asked_next(prompt: IntArray, images: tuple[str, ...] = ()) -> Sample:
    """A sample whose one row stands at the end of a prompt: where the value of what comes next is read."""
    last = np.arange(len(prompt) + 1) == len(prompt)
    return Sample.plain(np.append(prompt, 0), last, np.where(last, 0, -1), images=images)
