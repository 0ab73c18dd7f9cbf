"""Where old logprobs come from: what the ratio of the loss is taken to, while the sampler's stay a column beside it.

Only where rollouts run ahead do the sources differ by more than rounding. With ``sampler`` the ratio holds staleness
and all; with the others the loss clips against a policy near the present one, and a correction (a factor for old over
sampler) takes care of the rest: decoupled PPO (Hilton et al., arXiv 2110.00641; AReaL, arXiv 2505.24298).

| source | old logprobs of a token |
|---|---|
| ``sampler`` | those it was sampled with |
| ``recompute`` | by the weights at the start of the update |
| ``interpolate`` | ``(1 - a) sampler + a present``, ``a = lag / (lag + 1)``, without a pass of their own (AReaL) |
| ``snapshot`` | by the weights that sampled it, kept while a rollout may be as old: the exact old policy |
| ``ema`` | by an exponential mean of the weights of all updates (PPO-EWMA, arXiv 2110.00641) |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentrl.trainers.batching import Rows, Sample
from agentrl.types import FloatArray

Source = Literal["sampler", "recompute", "interpolate", "snapshot", "ema"]
Weights = dict[str, torch.Tensor]
# Logprobs [L] of each sample by given weights (none: the present ones), 0 where nothing is trained.
Score = Callable[[Sequence[Sample], Weights | None], list[FloatArray]]


class Proximal:
    """One source with what it remembers. ``decay`` is the share of its old weights that ``ema`` keeps at an update.

    Where rollouts lag, by at most ``staleness`` updates, the weights of every version in use are kept: the check of the
    gap between sampler and trainer asks for them as well.
    """

    def __init__(self, source: Source, model: nn.Module, decay: float = 0.9, staleness: int = 0) -> None:
        self.source, self.decay, self.staleness = source, decay, staleness
        self.weights: dict[int, Weights] = {}  # by version
        self.mean: Weights = _copy(model) if source == "ema" else {}
        self.version = 0
        self._keep(model)

    def prepare(self, samples: Sequence[Sample], score: Score) -> None:
        """Give the samples old logprobs before an update; what sampled them stays as the column ``sampler``."""
        if self.source in ("sampler", "interpolate"):
            return
        for sample in samples:
            sample.columns.setdefault("sampler", sample.old_logprobs)
        samples = [sample for sample in samples if not sample.demonstrated]
        if self.source != "snapshot":
            found = score(samples, self.mean or None)
            for sample, logprobs in zip(samples, found, strict=True):
                sample.old_logprobs = logprobs
            return
        for version in sorted(self.weights.keys() & set().union(*map(self.versions, samples))):
            own = [sample for sample in samples if version in self.versions(sample)]
            for sample, logprobs in zip(own, score(own, self.weights[version]), strict=True):
                sample.old_logprobs = np.where(self.sampled_by(sample, version), logprobs, sample.old_logprobs)

    def versions(self, sample: Sample) -> set[int]:
        """Those that sampled the tokens which are trained."""
        return {int(self.version - lag) for lag in sample.columns["lag"][sample.weight > 0]}

    def sampled_by(self, sample: Sample, version: int) -> npt.NDArray[np.bool_]:
        """[L] which trained tokens ``version`` sampled."""
        found: npt.NDArray[np.bool_] = (sample.weight > 0) & (self.version - sample.columns["lag"] == version)
        return found

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
        self._keep(model)
        if self.source == "ema":
            for name, parameter in model.named_parameters():
                self.mean[name].lerp_(parameter.detach().cpu(), 1 - self.decay)

    def state(self) -> dict[str, Any]:
        """Weights that only the check would ask for are left out: it goes on with versions to come."""
        weights = self.weights if self.source == "snapshot" else {}
        return {"weights": weights, "mean": self.mean, "version": self.version}

    def load(self, state: dict[str, Any]) -> None:
        self.weights, self.mean, self.version = state["weights"], state["mean"], int(state["version"])

    def _keep(self, model: nn.Module) -> None:
        if self.source == "snapshot" or self.staleness:
            self.weights[self.version] = _copy(model)
        self.weights = {v: kept for v, kept in self.weights.items() if v >= self.version - self.staleness}


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
