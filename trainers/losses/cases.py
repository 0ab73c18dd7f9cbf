"""Ops of the case files that are losses; see :mod:`agentrl.trainers.credit.cases`, which imports this when asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agentrl.errors import unknown
from agentrl.trainers.batching import Rows, Sample
from agentrl.trainers.credit.aepo import entropy_aware
from agentrl.trainers.losses.aepo import kept_clip
from agentrl.trainers.losses.aggregate import set_weights
from agentrl.trainers.losses.ppo import clip
from agentrl.trainers.losses.registry import Kind, bind
from agentrl.trainers.options import Spec

# the published names of the aggregations, in ours
MODES = {
    "token-mean": "token",
    "seq-mean-token-sum": "sequence-sum",
    "seq-mean-token-mean": "sequence",
    "seq-mean-token-sum-norm": "sequence-sum",
}


def ppo_agg(loss: list[list[float]], mask: list[list[int]], mode: str) -> float:
    """One number from token losses. The last mode divides by the padded width alone, whence its constant."""
    if mode not in MODES:
        raise unknown("loss aggregation", mode, MODES)
    sampled = np.array(mask, bool)
    rows, width = sampled.shape
    turns = [np.where(row, i, -1) for i, row in enumerate(sampled)]
    samples = [Sample.plain(turn, turn >= 0, turn, i) for i, turn in enumerate(turns)]
    set_weights(samples, MODES[mode], width / rows if mode.endswith("norm") else 1.0)
    return float(sum(float(s.weight @ np.asarray(row)) for s, row in zip(samples, loss, strict=True)))


def aepo_tokens(
    adv: list[list[float]],
    logp: list[list[float]],
    old: list[list[float]],
    entropy: list[list[float]],
    mask: list[list[int]],
    lo: float = 0.2,
    hi: float = 0.2,
    c: float = 3.0,
    ent_adv: bool = True,
    keep_grad: bool = True,
) -> dict[str, Any]:
    """Advantages, losses and their gradients by the log-probabilities; each [B, L], 0 where the mask is.

    Published code has no tolerance for equal entropies, so nor has this (``zero_tol=0``). The case of equal entropies
    holds what float64 rounding makes of that; at our default the advantages stay as they are.
    """
    sampled = np.array(mask, bool)
    gain = np.array(adv, np.float64)[sampled]
    if ent_adv:
        gain = entropy_aware(gain, np.array(entropy, np.float64)[sampled], zero_tol=0.0)
    new = torch.tensor(np.array(logp, np.float64)[sampled], requires_grad=True)
    before = torch.tensor(np.array(old, np.float64)[sampled])
    a = torch.tensor(gain)
    ratio = torch.exp(new - before)
    loss = (kept_clip if keep_grad else clip)(ratio, a, 1 - lo, 1 + hi, c)
    (gradient,) = torch.autograd.grad(loss.sum(), new)

    def spread(values: np.ndarray) -> np.ndarray:
        out = np.zeros(sampled.shape)
        out[sampled] = values
        return out

    return {"adv": spread(gain), "loss": spread(loss.detach().numpy()), "grad": spread(gradient.numpy())}


def loss(kind: Kind, loss: Spec, rows: dict[str, Any]) -> dict[str, Any]:
    """A loss as a recipe names it, of rows written as lists: its values, and the gradient of their sum.

    ``rows``: ``logprobs``, ``old``, ``advantages``, ``sample`` [n]; if need be ``entropies`` [n], ``columns`` of [n],
    ``step``, and EPO's ``memory`` (turn -> sum of entropies, count). The gradient is by the logprobs, or by the
    entropies where the loss reads those; a correction has none.
    """
    bound = bind(loss, kind)

    def leaf(name: str) -> torch.Tensor:
        values = rows.get(name) or [0.0] * len(rows["logprobs"])
        return torch.tensor(values, dtype=torch.float64, requires_grad=name in ("logprobs", "entropies"))

    columns = {name: torch.tensor(values, dtype=torch.float64) for name, values in rows.get("columns", {}).items()}
    made = Rows(
        logprobs=leaf("logprobs"),
        entropies=leaf("entropies"),
        old_logprobs=leaf("old"),
        advantages=leaf("advantages"),
        weight=torch.ones(len(rows["logprobs"]), dtype=torch.float64),
        sample=torch.tensor(rows["sample"]),
        columns=columns,
        step=rows.get("step", 0),
        state={"epo": {int(turn): list(known) for turn, known in rows.get("memory", {}).items()}},
    )
    value = bound(made)
    if kind == "correction":
        return {"loss": value.tolist()}
    by = made.entropies if "entropies" in bound.plugin.needs else made.logprobs
    (gradient,) = torch.autograd.grad(value.sum(), by, allow_unused=True)
    return {"loss": value.tolist(), "gradient": (torch.zeros_like(by) if gradient is None else gradient).tolist()}
