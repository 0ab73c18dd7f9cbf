"""Preferences between episodes: a success of a task over a failure of it, by the tokens that the policy wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.trainers.batching import Sample, padded
from agentrl.trainers.loop import load_agent
from agentrl.trainers.losses.dpo import regret
from agentrl.trainers.models import save_policy
from agentrl.trainers.optimizer import Optimizer
from agentrl.trainers.options import validated
from agentrl.types import Group, Trajectory


class DPOConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    beta: float = Field(0.1, gt=0)
    epochs: float = Field(1.0, gt=0, description="passes over the pairs")
    batch: int = Field(8, ge=1, description="pairs an optimiser step")
    lr: float = Field(1e-4, gt=0)
    warmup: int = Field(5, ge=0)
    pairs: int = Field(4, ge=1, description="at most so many pairs a task")
    positions: int = Field(4096, ge=64, description="padded positions a forward pass")
    seed: int = 0


@dataclass(frozen=True)
class Pair:
    """The better and the worse episode, as samples whose weight is 1 on the policy's own tokens."""

    better: list[Sample]
    worse: list[Sample]


def pairs_of(groups: Sequence[Group], config: DPOConfig) -> list[Pair]:
    """Successes with failures of the same group, drawn by seed, each success as often as any other."""
    rng = np.random.default_rng(config.seed)
    pairs = []
    for group in groups:
        played = [t for t in group if t.trusted and t.sampled_tokens]
        won, lost = [t for t in played if t.success], [t for t in played if not t.success]
        both = [(a, b) for a in won for b in lost]
        for index in rng.permutation(len(both))[: config.pairs]:
            pairs.append(Pair(*(_samples(t) for t in both[int(index)])))
    return pairs


def fit(
    model: nn.Module,
    pairs: Sequence[Pair],
    config: DPOConfig,
    progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Train in place: ``-ln sigmoid(beta (d_better - d_worse))``, d the episode's log ratio to where it began.

    The ratio is summed over the tokens that the policy sampled; what the environment said is not in it. The gradient
    is that of the sums with a factor each, so that an episode may be cut into any number of batches. The mean loss of
    each step.

    Source: DPO (arXiv 2305.18290), masked by turn as for agents in AgentPRM (arXiv 2502.10325).
    """
    if not pairs:
        raise UserError("there is nothing to prefer: no task has both a success and a failure with sampled tokens")
    model.train()
    with torch.no_grad():
        begin = [(_total(model, p.better, config), _total(model, p.worse, config)) for p in pairs]
    rng = np.random.default_rng(config.seed)
    steps = max(1, round(config.epochs * len(pairs) / config.batch))
    order = np.concatenate([rng.permutation(len(pairs)) for _ in range(-(-steps * config.batch // len(pairs)))])
    optimizer = Optimizer(model, config.lr)
    losses = []
    for step in range(steps):
        chosen = order[step * config.batch : (step + 1) * config.batch].tolist()
        losses.append(0.0)
        for i in chosen:
            pair, (better, worse) = pairs[i], begin[i]
            with torch.no_grad():
                now = _total(model, pair.better, config) - better - _total(model, pair.worse, config) + worse
            gap = torch.tensor(now, dtype=torch.float64, requires_grad=True)
            loss = regret(gap, config.beta) / len(chosen)
            losses[-1] += float(loss.detach())
            (slope,) = torch.autograd.grad(loss, gap)
            for samples, factor in ((pair.better, float(slope)), (pair.worse, -float(slope))):
                for batch in padded(samples, config.positions):
                    rows = batch.forward(model)
                    (factor * rows.logprobs.sum()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(min(1.0, (step + 1) / max(1, config.warmup)))
        if progress is not None:
            progress(step + 1, steps, losses[-1])
    model.eval()
    return losses


def prefer(
    groups: Sequence[Group],
    base: str,
    out: Path,
    progress: Callable[[int, int, float], None] | None = None,
    settings: dict[str, Any] | None = None,
) -> Path:
    """Groups with token records in, a policy folder out. ``base`` is the policy that played them, or near it."""
    config = validated(DPOConfig, "dpo", settings or {})
    where = locate(base)
    model, tokenizer = load_model(where)
    fit(model, pairs_of(groups, config), config, progress)
    agent = load_agent(where)
    save_policy(out, model, tokenizer, agent.model_dump() if agent else {})
    return out


def _samples(trajectory: Trajectory) -> list[Sample]:
    return [
        Sample.plain(s.ids, s.sampled, np.where(s.sampled, s.turn, -1), images=s.images) for s in trajectory.segments()
    ]


def _total(model: nn.Module, samples: Sequence[Sample], config: DPOConfig) -> float:
    return sum(float(batch.forward(model).logprobs.double().sum()) for batch in padded(samples, config.positions))
