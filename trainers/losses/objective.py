"""What an update minimises: a policy loss times corrections, plus terms, over flat rows.

loss = sum over rows of weight * (policy * correction * ... + w * term + ...)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from agentrl.errors import UserError
from agentrl.trainers.batching import Rows
from agentrl.trainers.losses.kl import k3
from agentrl.trainers.losses.registry import GIVEN, Bound, bind
from agentrl.trainers.options import Spec


@dataclass(frozen=True)
class Objective:
    """A checked recipe for the loss."""

    policy: Bound
    corrections: tuple[Bound, ...]
    terms: tuple[Bound, ...]

    @property
    def needs(self) -> set[str]:
        """What rows must hold beside logprobs: entropies with a gradient, or columns by name."""
        return {name for bound in self._parts for name in bound.plugin.needs}

    @property
    def whole(self) -> list[str]:
        """Losses that must see all rows of an optimiser step at once."""
        return [bound.plugin.id for bound in self._parts if bound.plugin.whole]

    def runnable(self) -> Objective:
        """Itself. Raises UserError where a loss needs what a training run cannot give."""
        for bound in self._parts:
            for name in bound.plugin.needs:
                if name not in GIVEN:
                    raise UserError(f"loss {bound.plugin.id} needs {name!r} for each trained token, which a run lacks")
        return self

    def gradient(self, rows: Rows) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
        """The loss's gradient by what the model gave ({"logprobs": [n], "entropies": [n]}), and sums for the metrics.

        The rows are taken as numbers: no gradient reaches the model from here.
        """
        self._check(rows)
        rows = replace(
            rows,
            logprobs=rows.logprobs.detach().requires_grad_(),
            entropies=rows.entropies.detach().requires_grad_("entropies" in self.needs),
        )
        leaves = {"logprobs": rows.logprobs}
        if "entropies" in self.needs:
            leaves["entropies"] = rows.entropies
        with torch.enable_grad():
            parts = {"policy_loss": self._policy(rows)}
            for bound in self.terms:
                parts[f"{bound.plugin.id}_term"] = bound.weight * _sum(rows, bound(rows))
            loss = torch.stack(list(parts.values())).sum()
            by_policy = _grad(parts["policy_loss"], leaves["logprobs"], retain=True)
            found = {name: _grad(loss, leaf, retain=True) for name, leaf in leaves.items()}
        return found, self._metrics(rows, by_policy, {"loss": loss, **parts})

    def _policy(self, rows: Rows) -> torch.Tensor:
        value = self.policy(rows)
        if self.corrections and value.ndim == 0:
            raise UserError(
                f"loss {self.policy.plugin.id} is not a sum over tokens: corrections have nothing to act on"
            )
        for bound in self.corrections:
            value = value * bound(rows).detach()
        return _sum(rows, value)

    def _metrics(self, rows: Rows, by_policy: torch.Tensor, parts: dict[str, torch.Tensor]) -> dict[str, float]:
        weight, ratio = rows.weight, rows.ratio.detach().double()
        gains = rows.advantages != 0
        means = {
            "entropy": rows.entropies.detach(),
            "approx_kl": k3(rows.old_logprobs, rows.logprobs.detach()),
            "clip_share": gains & (by_policy == 0),
            "zero_advantage_share": ~gains,
            **{f"{bound.plugin.id}_factor": bound(rows).detach() for bound in self.corrections},
        }
        sums = {name: (weight * values).sum() for name, values in means.items()}
        sums |= {"ratio_sum": ratio.sum(), "ratio_square_sum": ratio.square().sum(), "rows": (ratio == ratio).sum()}
        sums |= {name: value.detach() for name, value in parts.items()}
        return {name: float(value) for name, value in sums.items()}

    @property
    def _parts(self) -> Sequence[Bound]:
        return (self.policy, *self.corrections, *self.terms)

    def _check(self, rows: Rows) -> None:
        for bound in self._parts:
            for name in bound.plugin.needs:
                if name != "entropies" and name not in rows.columns:
                    raise UserError(f"loss {bound.plugin.id} needs {name!r} for each trained token, which nothing gave")


def objective(policy: Spec = "ppo", corrections: Iterable[Spec] = (), terms: Iterable[Spec] = ()) -> Objective:
    """Resolve names and options. Raises UserError for an unknown one, before anything runs."""
    made = Objective(
        bind(policy, "policy"),
        tuple(bind(spec, "correction") for spec in corrections),
        tuple(bind(spec, "term") for spec in terms),
    )
    ids = [bound.plugin.id for bound in made._parts]
    for id in ids:
        if ids.count(id) > 1:
            raise UserError(f"loss {id} is named twice")
    return made


def effective_share(sums: dict[str, float]) -> float:
    """Kish's effective sample size of the ratios, as a share of the rows: (sum r)^2 / (n sum r^2)."""
    return sums["ratio_sum"] ** 2 / max(sums["ratio_square_sum"] * sums["rows"], 1e-30)


def _sum(rows: Rows, value: torch.Tensor) -> torch.Tensor:
    return value if value.ndim == 0 else rows.weight.to(value.dtype) @ value


def _grad(value: torch.Tensor, leaf: torch.Tensor, retain: bool) -> torch.Tensor:
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    (found,) = torch.autograd.grad(value, leaf, retain_graph=retain, allow_unused=True)
    return torch.zeros_like(leaf) if found is None else found
