"""From segments to tensors: samples, the batcher interface, and the forward that gives one logprob per trained token.

Whatever the layout (padded, packed, later a trie), a batch ends in flat rows: losses never see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.checkpoint import checkpoint

from agentrl.errors import UserError
from agentrl.policies.transformers import full_attention, head_logits
from agentrl.types import FloatArray, IntArray, Trajectory

LOGITS_PER_CHUNK = 1 << 25  # tokens x vocabulary that are held at once


@dataclass(slots=True)
class Sample:
    """One segment with what the loss needs. All arrays are [L]; ``weight`` is 0 where nothing is trained."""

    ids: IntArray
    weight: FloatArray
    old_logprobs: FloatArray
    advantages: FloatArray
    turn: IntArray  # number of the turn in the whole batch, -1 where not sampled
    trajectory: int


@dataclass(slots=True)
class Rows:
    """One row per trained token [n], in the order of the samples it came from."""

    logprobs: torch.Tensor
    entropies: torch.Tensor
    old_logprobs: torch.Tensor
    advantages: torch.Tensor
    weight: torch.Tensor
    reference: torch.Tensor | None = None


@dataclass(slots=True)
class Batch:
    """Model input [B, W] and, per trained token, where its prediction stands (flat index into B*W) and what it was."""

    input_ids: torch.Tensor
    position_ids: torch.Tensor | None
    mask: torch.Tensor | None  # additive [B, 1, W, W]; None: plain causal
    at: torch.Tensor
    targets: torch.Tensor
    old_logprobs: torch.Tensor
    advantages: torch.Tensor
    weight: torch.Tensor
    tokens: int  # ids that are not padding

    def forward(self, model: Any, temperature: float = 1.0, reference: torch.Tensor | None = None) -> Rows:
        parameter = next(model.parameters())
        device, mask = parameter.device, self.mask
        if mask is not None:
            if not full_attention(model.config.get_text_config(), mask.shape[-1]):
                raise UserError("batcher packed: this model has layers that do not see all tokens; use padded")
            hidden_from = torch.finfo(parameter.dtype).min
            mask = torch.zeros_like(mask, dtype=parameter.dtype).masked_fill_(mask < 0, hidden_from).to(device)
        hidden = model.base_model(
            input_ids=self.input_ids.to(device),
            attention_mask=mask,
            position_ids=None if self.position_ids is None else self.position_ids.to(device),
            use_cache=False,
        )[0]
        hidden = hidden.flatten(0, 1)[self.at.to(device)]
        logprobs, entropies = token_logprobs(model, hidden, self.targets.to(device), temperature)
        return Rows(
            logprobs,
            entropies,
            self.old_logprobs.to(device),
            self.advantages.to(device),
            self.weight.to(device),
            reference,
        )


class Batcher(Protocol):
    """Cuts samples into batches of at most ``budget`` positions. Only the cost depends on the choice."""

    def __call__(self, samples: Sequence[Sample], budget: int) -> list[Batch]: ...


def padded(samples: Sequence[Sample], budget: int) -> list[Batch]:
    """Right-padded rows of similar length. Causal attention never reaches padding, so no mask is needed."""
    batches: list[list[Sample]] = []
    for sample in sorted(samples, key=lambda s: len(s.ids)):
        if not batches or (len(batches[-1]) + 1) * len(sample.ids) > budget:
            batches.append([])
        batches[-1].append(sample)
    return [_pad(batch) for batch in batches]


def packed(samples: Sequence[Sample], budget: int) -> list[Batch]:
    """Rows filled with several samples, each seeing itself only; first-fit by falling length."""
    bins: list[list[Sample]] = []
    free: list[int] = []
    for sample in sorted(samples, key=lambda s: -len(s.ids)):
        fit = next((i for i, room in enumerate(free) if room >= len(sample.ids)), None)
        if fit is None:
            bins.append([])
            free.append(max(budget, len(sample.ids)))
            fit = len(bins) - 1
        bins[fit].append(sample)
        free[fit] -= len(sample.ids)
    return [_pack(batch) for batch in bins]


BATCHERS: dict[str, Batcher] = {"padded": padded, "packed": packed}


def token_logprobs(
    model: Any, hidden: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Natural-log probabilities [n] of ``targets`` [n] at the temperature, and entropies [n], from hidden [n, H].

    Logits are made in chunks that are computed again in the backward pass, so a [tokens x vocabulary] tensor never
    stands in memory.
    """

    def one(h: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = head_logits(model, h)
        logp = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, -1)
        entropy = -(logp.detach().exp() * logp.detach()).sum(-1)
        return logp.gather(-1, t[:, None])[:, 0], entropy

    size = max(1, LOGITS_PER_CHUNK // model.config.get_text_config().vocab_size)
    if len(hidden) <= size:
        return one(hidden, targets)
    parts = [
        checkpoint(one, hidden[i : i + size], targets[i : i + size], use_reentrant=False)
        for i in range(0, len(hidden), size)
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def samples_of(
    trajectories: Sequence[Trajectory], advantages: npt.NDArray[np.float64], first_turn: Sequence[int]
) -> list[Sample]:
    """One sample a segment. ``advantages`` is per turn of the batch; a trajectory's turns start at ``first_turn``."""
    samples = []
    for index, (trajectory, first) in enumerate(zip(trajectories, first_turn, strict=True)):
        for segment in trajectory.segments():
            turn = np.where(segment.sampled, segment.turn + first, -1).astype(np.int32)
            gain = np.where(turn >= 0, advantages[np.maximum(turn, 0)], 0.0).astype(np.float32)
            samples.append(Sample(segment.ids, segment.sampled.astype(np.float32), segment.logprobs, gain, turn, index))
    return samples


def _pad(samples: Sequence[Sample]) -> Batch:
    width = max(len(s.ids) for s in samples)
    ids = np.zeros((len(samples), width), np.int64)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = sample.ids
    return _batch(ids, None, None, [(row * width, s) for row, s in enumerate(samples)])


def _pack(samples: Sequence[Sample]) -> Batch:
    lengths = [len(s.ids) for s in samples]
    starts = np.cumsum([0, *lengths[:-1]]).tolist()
    ids = np.concatenate([s.ids for s in samples]).astype(np.int64)[None]
    positions = np.concatenate([np.arange(n) for n in lengths])[None]
    owner = np.repeat(np.arange(len(samples)), lengths)
    at = np.arange(len(owner))
    visible = (owner[:, None] == owner[None, :]) & (at[:, None] >= at[None, :])
    mask = torch.where(torch.from_numpy(visible), 0.0, torch.finfo(torch.float32).min)[None, None]
    return _batch(ids, positions, mask, list(zip(starts, samples, strict=True)))


def _batch(
    ids: npt.NDArray[np.int64],
    positions: npt.NDArray[np.int64] | None,
    mask: torch.Tensor | None,
    placed: Iterable[tuple[int, Sample]],
) -> Batch:
    """``placed``: where each sample's first token stands in the flat ids."""
    at, targets, old, gain, weight = [], [], [], [], []
    total = 0
    for start, sample in placed:
        where = np.flatnonzero(sample.weight[1:]) + 1  # a first token has nothing to be predicted from
        at.append(start + where - 1)
        targets.append(sample.ids[where])
        old.append(sample.old_logprobs[where])
        gain.append(sample.advantages[where])
        weight.append(sample.weight[where])
        total += len(sample.ids)

    def tensor(parts: Sequence[npt.NDArray[Any]], dtype: torch.dtype) -> torch.Tensor:
        return torch.from_numpy(np.concatenate(parts)).to(dtype)

    return Batch(
        torch.from_numpy(ids),
        None if positions is None else torch.from_numpy(positions),
        mask,
        tensor(at, torch.int64),
        tensor(targets, torch.int64),
        tensor(old, torch.float32),
        tensor(gain, torch.float32),
        tensor(weight, torch.float32),
        total,
    )
