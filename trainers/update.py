"""One iteration's gradient steps: samples in, weights and metrics out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

import numpy as np
import torch
from torch import nn
from torch.distributed.tensor import DTensor

from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.trainers import adapters, liger, memory, vcpo
from agentrl.trainers.batching import BATCHERS, Batch, Rows, Sample
from agentrl.trainers.losses.aggregate import set_weights
from agentrl.trainers.losses.objective import Objective, effective_share, objective
from agentrl.trainers.optimizer import Optimizer
from agentrl.trainers.probe import choose
from agentrl.trainers.proximal import Proximal, Weights, holding
from agentrl.trainers.recipe import LossConfig, OptimConfig, Recipe
from agentrl.trainers.values import Critic
from agentrl.types import FloatArray

T = TypeVar("T")
COUNTS = ("ratio_sum", "ratio_square_sum", "rows")  # metrics that are sums over rows, and no weighted means


@dataclass
class Learner:
    """Owns the trained weights and the optimiser. ``reference`` is a frozen copy where a term wants one.

    A model with adapters is its own reference, without them.

    With a ``critic`` samples bring the columns ``values`` and ``returns``, and its head learns in the same steps.
    Tokens may lag up to ``staleness`` updates.
    """

    model: nn.Module
    optim: OptimConfig
    loss: LossConfig
    temperature: float = 1.0
    reference: nn.Module | None = None
    teacher: nn.Module | None = None
    critic: Critic | None = None
    staleness: int = 0
    steps: int = 0
    rate: float = 1.0
    objective: Objective = field(init=False)
    batcher: str = field(init=False)
    notes: list[str] = field(default_factory=list)  # what was chosen other than asked
    proximal: Proximal = field(init=False)
    optimizer: Optimizer = field(init=False)
    memory: dict[str, Any] = field(default_factory=dict)  # of losses that remember something

    def __post_init__(self) -> None:
        self.model.train()
        self.objective = objective(self.loss.policy, self.loss.corrections, self.loss.terms)
        if "reference" in self.objective.needs and self.reference is None and not adapters.adapted(self.model):
            raise UserError("a term of the loss needs the reference policy, and the learner was given none")
        if self.optim.checkpointing:
            newer = getattr(self.model, "activation_checkpointing_enable", None)
            (newer or self.model.gradient_checkpointing_enable)({"use_reentrant": False})  # type: ignore[operator]
        if self.optim.liger:
            liger.patch(self.model, next(self.model.parameters()).device)
        self.batcher, note = choose(self.model, self.optim.batcher)
        self.notes += [note] if note else []
        self.proximal = Proximal(self.loss.old, self.model, self.loss.ema_decay, self.staleness)
        self._place()
        self.optimizer = Optimizer(
            self.model, self.optim.lr, muon=self.optim.muon, weight_decay=self.optim.weight_decay
        )

    @classmethod
    def of(cls, recipe: Recipe, model: Any, tokenizer: Any) -> Self:
        """The learner that a recipe asks for, with the judges that it names."""
        config = recipe.rollout
        needs = objective(recipe.loss.policy, recipe.loss.corrections, recipe.loss.terms).needs
        own = "reference" in needs and not recipe.lora
        reference = _frozen(recipe.policy.path, tokenizer) if own else None
        teacher = None if recipe.loss.teacher is None else _frozen(recipe.loss.teacher, tokenizer)
        critic = None if recipe.value is None else Critic(recipe.value, model)
        judges = (reference, teacher, critic)
        return cls(model, recipe.optim, recipe.loss, config.temperature, *judges, config.staleness)

    def update(self, samples: Sequence[Sample], seed: int, progress: float = 0.0) -> dict[str, float]:
        """Epochs of minibatches over ``samples``. Minibatches hold whole trajectories, drawn by ``seed``.

        ``progress`` (0 to 1) is how much of the run is done, for the annealed learning rate.
        """
        self.rate = 1.0 - 0.9 * progress if self.optim.anneal else 1.0
        rng = np.random.default_rng(seed)
        owners = np.unique([s.trajectory for s in samples])
        sums: dict[str, float] = {}
        gap = self._checked(self._lagging_gaps(samples)) if self.staleness else None
        minibatches = 0
        self.proximal.prepare(samples, self.score)
        for _ in range(self.optim.epochs):
            for part in np.array_split(rng.permutation(owners), self.optim.minibatches):
                chosen = [s for s in samples if s.trajectory in set(part.tolist())]
                if not any((s.turn >= 0).any() for s in chosen):
                    continue
                set_weights(chosen, self.loss.aggregate, self.loss.constant)
                if self.critic:
                    self.critic.aim(chosen)
                metrics, gaps = self._step(chosen)
                if gap is None:  # before the first step the weights are those that sampled
                    gap = self._checked(gaps)
                _add(sums, metrics)
                minibatches += 1
        self.proximal.updated(self.model)
        return {key: value / max(1, minibatches) for key, value in sums.items()} | (gap or {})

    def stream(self, groups: Iterable[Sequence[Sample]], progress: float = 0.0) -> dict[str, float]:
        """One optimiser step whose gradient is added up while groups come: what :meth:`update` does with all of them in
        one epoch of one minibatch. Samples of different groups are of different trajectories.
        """
        if self.objective.whole:
            raise UserError("this loss looks at all samples of a step at once, so it cannot learn from them one by one")
        self.rate = 1.0 - 0.9 * progress if self.optim.anneal else 1.0
        sums: dict[str, float] = {}
        weights: dict[int, float] = {}
        gaps: list[np.ndarray] = []
        units = 0
        for samples in groups:
            self.proximal.prepare(samples, self.score)
            count = set_weights(samples, self.loss.aggregate, self.loss.constant)
            for sample in samples:
                sample.weight = sample.weight * count
            units += count
            gaps += self._backward(samples, sums, weights)
        gap = self._checked(gaps)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                parameter.grad /= max(1, units)
        sums = {key: value if key in COUNTS else value / max(1, units) for key, value in sums.items()}
        metrics = self._advance(sums, weights)
        self.proximal.updated(self.model)
        return metrics | gap

    def score(self, samples: Sequence[Sample], weights: Weights | None = None) -> list[FloatArray]:
        """Logprobs [L] of each sample by the trainer, 0 where nothing is trained; ``weights`` none: its own."""
        found: dict[int, FloatArray] = {}
        place = {id(sample): i for i, sample in enumerate(samples)}
        with torch.no_grad(), holding(self.model, weights):
            for batch in self._batches(samples):
                logprobs = self._forward(batch, self.model).logprobs.float().cpu().numpy()
                for sample, where, given in batch.by_sample(logprobs):
                    values = np.zeros(len(sample.ids), np.float32)
                    values[where] = given
                    found[place.get(id(sample), -1)] = values
        for part in self._gathered(found):
            found |= part
        return [found[i] for i in range(len(samples))]

    def weights(self) -> dict[str, torch.Tensor]:
        """What a sampler is given, as :func:`agentrl.trainers.adapters.trained` says."""
        return adapters.trained(self.model)

    def plain(self) -> nn.Module:
        """The model as a checkpoint holds it."""
        return self.model

    def close(self) -> None:
        """Nothing more will be learnt."""

    def state(self) -> dict[str, Any]:
        kept = {"steps": self.steps, "memory": self.memory, "proximal": self.proximal.state()}
        critic = {"critic": self.critic.state()} if self.critic else {}
        return {"optimizer": self.optimizer.state_dict(), **kept, **critic}

    def load(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = int(state["steps"])
        self.memory = dict(state.get("memory", {}))
        if self.critic:
            self.critic.load(state["critic"])
        if "proximal" in state:
            self.proximal.load(state["proximal"])

    def _step(self, samples: Sequence[Sample]) -> tuple[dict[str, float], list[np.ndarray]]:
        sums: dict[str, float] = {}
        weights: dict[int, float] = {}
        gaps = self._backward(samples, sums, weights)
        found = self._gathered((sums, weights, gaps))
        sums, weights = _added([part[0] for part in found]), _added([part[1] for part in found])
        return self._advance(sums, weights), [gap for part in found for gap in part[2]]

    def _backward(
        self, samples: Sequence[Sample], sums: dict[str, float], weights: dict[int, float]
    ) -> list[np.ndarray]:
        """Add to the gradient, to ``sums`` by metric, and to ``weights``: of trajectories, log of present / sampler."""
        batches = self._batches(samples)
        gaps: list[np.ndarray] = []
        whole = self._whole(batches, sums) if self.objective.whole and len(batches) > 1 else None
        for i, batch in enumerate(batches):
            rows = self._rows(batch)
            for sample, where, given in batch.by_sample(rows.logprobs.detach().float().cpu().numpy()):
                sample.passed = np.full(len(sample.ids), np.nan, np.float32) if sample.passed is None else sample.passed
                sample.passed[where] = given
            gradient = whole[i] if whole else self._gradient(rows, sums)
            tensors, gradients = [getattr(rows, name) for name in gradient], list(gradient.values())
            if self.critic:
                value_loss = self.critic.loss(rows)
                _add(sums, {"value_loss": float(value_loss.detach())})
                tensors, gradients = [*tensors, value_loss], [*gradients, torch.ones_like(value_loss)]
            with memory.phase(f"a backward pass of the update ({batch.input_ids.numel()} positions)"):
                torch.autograd.backward(tensors, gradients)
            gaps.append(_gap(rows))
            owners = [sample.trajectory for sample, _ in batch.placed]
            for owner, log in zip(owners, _log_weights(rows), strict=False):  # the last may have no rows
                weights[owner] = weights.get(owner, 0.0) + log
        return gaps

    def _advance(self, sums: dict[str, float], weights: dict[int, float]) -> dict[str, float]:
        """One optimiser step with the gradient there is; its metrics."""
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.optim.grad_clip)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not torch.isfinite(norm):
            raise UserError(
                f"collapse: the gradient is {float(norm)} at optimiser step {self.steps}; lower optim.lr or "
                "optim.grad_clip, and go on from the last checkpoint"
            )
        rate = self.rate * min(1.0, (self.steps + 1) / max(1, self.optim.warmup))
        sums["effective_trajectory_share"] = vcpo.effective([*weights.values()])
        if self.optim.ess is not None:
            rate *= vcpo.rate([*weights.values()], self.optim.ess_base, self.optim.ess)
        with memory.phase("the optimiser's step", "set lora={} to train adapters only, or take a smaller policy"):
            self.optimizer.step(rate)
        if self.critic:
            sums["value_grad_norm"] = self.critic.step(rate, self.optim.grad_clip)
        self.steps += 1
        counts = {name: sums.pop(name) for name in COUNTS}
        return sums | {"effective_sample_share": effective_share(counts), "grad_norm": float(norm)}

    def _rows(self, batch: Batch) -> Rows:
        rows = self._forward(batch, self.model, "entropies" in self.objective.needs)
        for name, frozen in (("reference", self.reference), ("teacher", self.teacher)):
            if frozen is not None:
                with torch.no_grad():
                    rows.columns[name] = self._forward(batch, frozen).logprobs
        if "reference" in self.objective.needs and self.reference is None:
            with torch.no_grad(), adapters.off(self.model):
                rows.columns["reference"] = self._forward(batch, self.model).logprobs
        if "demonstration" in rows.columns:  # nobody sampled a demonstration: its ratio is 1, and it has no gap
            own, now = rows.columns["demonstration"] > 0, rows.logprobs.detach()
            rows.columns["sampler"] = torch.where(own, now, rows.columns["sampler"])
            rows = replace(rows, old_logprobs=torch.where(own, now, rows.old_logprobs))
        return self.proximal.rows(replace(rows, step=self.steps, state=self.memory))

    def _forward(self, batch: Batch, model: nn.Module, entropy_gradient: bool = False) -> Rows:
        device = next(model.parameters()).device.type
        asked = torch.autocast(device, torch.bfloat16, enabled=self.optim.bf16)
        with memory.phase(f"a forward pass of the update ({batch.input_ids.numel()} positions)"), asked:
            return self._pass(batch, model, entropy_gradient)

    # -- what differs where several processes learn together -----------------------------------------------------------

    def _place(self) -> None:
        """Bring the weights to where they are learnt, before the optimiser sees them."""

    def _batches(self, samples: Sequence[Sample]) -> list[Batch]:
        """What this process computes of an optimiser step."""
        return BATCHERS[self.batcher](samples, self.optim.positions, self.model)

    def _pass(self, batch: Batch, model: nn.Module, entropy_gradient: bool) -> Rows:
        return batch.forward(model, self.temperature, entropy_gradient)

    def _gathered(self, own: T) -> list[T]:
        """What each process found."""
        return [own]

    # ------------------------------------------------------------------------------------------------------------------

    def _gradient(self, rows: Rows, sums: dict[str, float]) -> dict[str, torch.Tensor]:
        gradient, metrics = self.objective.gradient(rows)
        _add(sums, metrics)
        return gradient

    def _whole(self, batches: Sequence[Batch], sums: dict[str, float]) -> list[dict[str, torch.Tensor]]:
        """Gradients by the rows of each batch for a loss that sees all of them at once: one more forward pass."""
        with torch.no_grad():
            parts = [self._rows(batch) for batch in batches]
        gradient = self._gradient(Rows.join(parts), sums)
        cut = {name: torch.split(values, [len(rows.weight) for rows in parts]) for name, values in gradient.items()}
        return [{name: values[i] for name, values in cut.items()} for i in range(len(batches))]

    def _lagging_gaps(self, samples: Sequence[Sample]) -> list[np.ndarray]:
        """|trainer - sampler| of tokens of the newest version that sampled any, by its weights; one pass at most."""
        versions = {id(sample): self.proximal.versions(sample) for sample in samples if not sample.demonstrated}
        held = self.proximal.weights.keys()
        newest = max((v for found in versions.values() for v in found & held), default=None)
        if newest is None:
            return [np.zeros(0, np.float32)]
        chosen: list[Sample] = []
        for sample in samples:
            fits = sum(len(s.ids) for s in chosen) + len(sample.ids) <= self.optim.positions or not chosen
            if newest in versions.get(id(sample), ()) and fits:
                chosen.append(sample)
        found = self.score(chosen, self.proximal.weights[newest])
        return [
            np.abs(logprobs - sample.old_logprobs)[self.proximal.sampled_by(sample, newest)]
            for sample, logprobs in zip(chosen, found, strict=True)
        ]

    def _checked(self, gaps: Sequence[np.ndarray]) -> dict[str, float]:
        values = np.concatenate(gaps)
        if not len(values):  # after a resume: sampled by weights that nobody has any more
            return {}
        gap = {"logprob_gap": float(values.mean()), "logprob_gap_max": float(values.max())}
        if gap["logprob_gap"] > self.loss.max_logprob_gap:
            raise UserError(
                f"sampler and trainer disagree: mean |logprob gap| {gap['logprob_gap']:.4g} is above "
                f"loss.max_logprob_gap={self.loss.max_logprob_gap:g}; the policy does not hold the trainer's weights, "
                "or computes something else with them"
            )
        return gap


def _frozen(name: str, tokenizer: Any) -> Any:
    """A policy that only judges. Raises UserError where it reads other tokens."""
    model, other = load_model(locate(name))
    if other.get_vocab() != tokenizer.get_vocab():
        raise UserError(f"{name} cannot judge this policy's tokens: it has another tokenizer")
    return model.requires_grad_(False)


def _added(parts: Sequence[dict[T, float]]) -> dict[T, float]:
    total: dict[T, float] = {}
    for part in parts:
        _add(total, part)
    return total


def _add(total: dict[T, float], part: dict[T, float]) -> None:
    for key, value in part.items():
        total[key] = total.get(key, 0.0) + value


def _gap(rows: Rows) -> np.ndarray:
    """|trainer - sampler| of the tokens that do not lag."""
    gap = (rows.logprobs.detach() - rows.columns["sampler"]).abs()
    found: np.ndarray = (gap[rows.columns["lag"] == 0] if "lag" in rows.columns else gap).cpu().numpy()
    return found


def _log_weights(rows: Rows) -> list[float]:
    """log(present / sampler) of each sample."""
    return rows.total(rows.logprobs.detach() - rows.columns["sampler"]).tolist()
