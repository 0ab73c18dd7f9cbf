"""One iteration's gradient steps: samples in, weights and metrics out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from agentrl.errors import UserError
from agentrl.trainers.batching import BATCHERS, Batch, Rows, Sample
from agentrl.trainers.losses.aggregate import set_weights
from agentrl.trainers.losses.ppo import kl_k3, ppo_clip
from agentrl.trainers.optimizer import Optimizer
from agentrl.trainers.recipe import LossConfig, OptimConfig


@dataclass
class Learner:
    """Owns the trained weights and the optimiser. ``reference`` is a frozen copy where a KL term wants one."""

    model: nn.Module
    optim: OptimConfig
    loss: LossConfig
    temperature: float = 1.0
    reference: nn.Module | None = None
    steps: int = 0
    rate: float = 1.0
    optimizer: Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self.model.train()
        self.optimizer = Optimizer(
            self.model, self.optim.lr, muon=self.optim.muon, weight_decay=self.optim.weight_decay
        )

    def update(self, samples: Sequence[Sample], seed: int, progress: float = 0.0) -> dict[str, float]:
        """Epochs of minibatches over ``samples``. Minibatches hold whole trajectories, drawn by ``seed``.

        ``progress`` (0 to 1) is how much of the run is done, for the annealed learning rate.
        """
        self.rate = 1.0 - 0.9 * progress if self.optim.anneal else 1.0
        rng = np.random.default_rng(seed)
        owners = np.unique([s.trajectory for s in samples])
        sums: dict[str, float] = {}
        gap: dict[str, float] = {}
        minibatches = 0
        for _ in range(self.optim.epochs):
            for part in np.array_split(rng.permutation(owners), self.optim.minibatches):
                chosen = [s for s in samples if s.trajectory in set(part.tolist())]
                if not any((s.turn >= 0).any() for s in chosen):
                    continue
                set_weights(chosen, self.loss.aggregate, self.loss.constant)
                metrics, gaps = self._step(chosen)
                if not gap:  # before the first step the weights are those that sampled
                    gap = _gap(gaps)
                    self._check(gap)
                for key, value in metrics.items():
                    sums[key] = sums.get(key, 0.0) + value
                minibatches += 1
        return {key: value / max(1, minibatches) for key, value in sums.items()} | gap

    def state(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "steps": self.steps}

    def load(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = int(state["steps"])

    def _step(self, samples: Sequence[Sample]) -> tuple[dict[str, float], list[np.ndarray]]:
        sums: dict[str, float] = {}
        gaps = []
        for batch in BATCHERS[self.optim.batcher](samples, self.optim.positions):
            rows = batch.forward(self.model, self.temperature, self._reference(batch))
            loss, metrics = self._loss(rows)
            loss.backward()  # type: ignore[no-untyped-call]
            gaps.append((rows.logprobs.detach() - rows.old_logprobs).abs().cpu().numpy())
            for key, value in metrics.items():
                sums[key] = sums.get(key, 0.0) + value
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.grad_clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"the gradient is {float(norm)} at optimiser step {self.steps}")
        self.optimizer.step(self.rate * min(1.0, (self.steps + 1) / max(1, self.optim.warmup)))
        self.steps += 1
        return sums | {"grad_norm": float(norm)}, gaps

    def _loss(self, rows: Rows) -> tuple[torch.Tensor, dict[str, float]]:
        token = ppo_clip(
            rows.logprobs, rows.old_logprobs, rows.advantages, self.loss.clip_low, self.loss.clip_high, self.loss.dual
        )
        detached = rows.logprobs.detach()
        metrics = {
            "loss": float((rows.weight * token.detach()).sum()),
            "entropy": float((rows.weight * rows.entropies).sum()),
            "approx_kl": float((rows.weight * kl_k3(rows.old_logprobs, detached)).sum()),
            "clip_share": float((rows.weight * self._clipped(rows)).sum()),
        }
        if rows.reference is not None:
            kl = kl_k3(rows.logprobs, rows.reference)
            metrics["kl_reference"] = float((rows.weight * kl.detach()).sum())
            token = token + self.loss.kl * kl
        return (rows.weight * token).sum(), metrics

    def _clipped(self, rows: Rows) -> torch.Tensor:
        ratio = torch.exp(rows.logprobs.detach() - rows.old_logprobs)
        high = (ratio > 1 + self.loss.clip_high) & (rows.advantages > 0)
        return (high | ((ratio < 1 - self.loss.clip_low) & (rows.advantages < 0))).float()

    def _reference(self, batch: Batch) -> torch.Tensor | None:
        if self.reference is None:
            return None
        with torch.no_grad():
            return batch.forward(self.reference, self.temperature).logprobs

    def _check(self, gap: dict[str, float]) -> None:
        if gap["logprob_gap"] > self.loss.max_logprob_gap:
            raise UserError(
                f"sampler and trainer disagree: mean |logprob gap| {gap['logprob_gap']:.4g} is above "
                f"loss.max_logprob_gap={self.loss.max_logprob_gap:g}; the policy does not hold the trainer's weights, "
                "or computes something else with them"
            )


def _gap(gaps: Sequence[np.ndarray]) -> dict[str, float]:
    values = np.concatenate(gaps)
    return {"logprob_gap": float(values.mean()), "logprob_gap_max": float(values.max())}
