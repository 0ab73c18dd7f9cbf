"""Where old logprobs come from: what the ratio of the loss is taken to, while the sampler's stay a column beside it.

Only where rollouts run ahead do the sources differ by more than rounding. With ``sampler`` the ratio holds staleness
and all; with the others the loss clips against a policy near the present one, and a correction (a factor for old over
sampler) takes care of the rest: decoupled PPO (Hilton et al., arXiv 2110.00641; AReaL, arXiv 2505.24298).

| source | old logprobs of a token |
|---|---|
| ``sampler`` | those it was sampled with |
| ``recompute`` | by the weights at the start of the update |
| ``interpolate`` | ``(1 - a) sampler + a present``, ``a = lag / (lag + 1)``, without a pass of their own (AReaL) |
| ``snapshot`` | by the weights that sampled it, kept until no rollout is as old: the exact old policy of each version |
| ``ema`` | by an exponential mean of the weights of all updates (PPO-EWMA, arXiv 2110.00641) |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from agentrl.trainers.batching import Rows, Sample
from agentrl.types import FloatArray

Source = Literal["sampler", "recompute", "interpolate", "snapshot", "ema"]
Weights = dict[str, torch.Tensor]
# Logprobs [L] of each sample by given weights (none: the present ones), 0 where nothing is trained.
Score = Callable[[Sequence[Sample], Weights | None], list[FloatArray]]


class Proximal:
    """One source with what it remembers. ``decay`` is the share of its old weights that ``ema`` keeps at an update."""

    def __init__(self, source: Source, model: nn.Module, decay: float = 0.9) -> None:
        self.source, self.decay = source, decay
        self.weights: dict[int, Weights] = {}  # by version; the mean under 0
        self.version = 0
        if source in ("snapshot", "ema"):
            self.weights[0] = _copy(model)

    def prepare(self, samples: Sequence[Sample], score: Score) -> None:
        """Give the samples old logprobs before an update; what sampled them stays as the column ``sampler``."""
        if self.source in ("sampler", "interpolate"):
            return
        for sample in samples:
            sample.columns.setdefault("sampler", sample.old_logprobs)
        samples = [s for s in samples if not s.columns.get("demonstration", np.zeros(1)).any()]  # nobody sampled those
        if self.source != "snapshot":
            found = score(samples, self.weights[0] if self.source == "ema" else None)
            for sample, logprobs in zip(samples, found, strict=True):
                sample.old_logprobs = logprobs
            return
        ages = [np.where(sample.weight > 0, self.version - sample.columns["lag"], np.inf) for sample in samples]
        for version in sorted({int(v) for age in ages for v in age[np.isfinite(age)]}):
            own = [(s, age == version) for s, age in zip(samples, ages, strict=True) if (age == version).any()]
            found = score([sample for sample, _ in own], self.weights[version])
            for (sample, mine), logprobs in zip(own, found, strict=True):
                sample.old_logprobs = np.where(mine, logprobs, sample.old_logprobs)
        oldest = min((int(age.min()) for age in ages if np.isfinite(age.min())), default=self.version)
        self.weights = {version: kept for version, kept in self.weights.items() if version >= oldest}

    def rows(self, rows: Rows) -> Rows:
        """The rows of one forward pass with old logprobs that depend on it."""
        if self.source != "interpolate":
            return rows
        lag, sampler = rows.columns["lag"], rows.columns["sampler"]
        return replace(rows, old_logprobs=sampler + lag / (lag + 1) * (rows.logprobs.detach() - sampler))

    @torch.no_grad()
    def updated(self, model: nn.Module) -> None:
        """The model has become the next version."""
        self.version += 1
        if self.source == "snapshot":
            self.weights[self.version] = _copy(model)
        if self.source == "ema":
            for name, parameter in model.named_parameters():
                self.weights[0][name].lerp_(parameter.detach().cpu(), 1 - self.decay)

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights, "version": self.version}

    def load(self, state: dict[str, Any]) -> None:
        self.weights, self.version = state["weights"], int(state["version"])


class holding:
    """A model with other weights for a while; its own are not copied."""

    def __init__(self, model: nn.Module, weights: Weights | None) -> None:
        self.model, self.weights = model, weights or {}
        self.own: Weights = {}

    def __enter__(self) -> None:
        for name, parameter in self.model.named_parameters():
            if name in self.weights:
                self.own[name] = parameter.data
                parameter.data = self.weights[name].to(parameter.device)

    def __exit__(self, *_: object) -> None:
        for name, parameter in self.model.named_parameters():
            if name in self.own:
                parameter.data = self.own[name]


def _copy(model: nn.Module) -> Weights:
    return {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters()}
