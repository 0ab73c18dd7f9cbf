"""From segments to tensors: samples, the batcher interface, and the forward that gives one logprob per trained token.

Whatever the layout (padded, packed, trie), a batch ends in flat rows: losses never see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import pad
from torch.utils.checkpoint import checkpoint

from agentrl.errors import UserError
from agentrl.policies.transformers import head_logits
from agentrl.policies.vision import Vision, keyed, looked, within
from agentrl.trainers.attention import BLOCK, NAME, Ints, Tree, attend_by, narrow
from agentrl.trainers.trie import build, cut
from agentrl.types import FloatArray, IntArray, Trajectory

LOGITS_PER_CHUNK = 1 << 25  # tokens x vocabulary that are held at once


@dataclass(slots=True)
class Sample:
    """One segment with what the loss needs. All arrays are [L]; ``weight`` is 0 where nothing is trained.

    ``columns``: what only some losses want, by name: "sampler" (logprobs of the policy that sampled, where
    ``old_logprobs`` are others), "lag" (updates since then), "success", "group", "episode_turn", and of a critic
    "values" and "returns".
    """

    ids: IntArray
    weight: FloatArray
    old_logprobs: FloatArray
    advantages: FloatArray
    turn: IntArray  # number of the turn in the whole batch, -1 where not sampled
    trajectory: int
    columns: dict[str, FloatArray] = field(default_factory=dict)
    images: tuple[str, ...] = ()  # what its placeholders stand for, in order
    passed: FloatArray | None = None  # logprobs by the trainer's last pass of an update, nan elsewhere; for the record

    @classmethod
    def plain(
        cls, ids: npt.ArrayLike, weight: npt.ArrayLike, turn: npt.ArrayLike, trajectory: int = 0, **more: Any
    ) -> Self:
        """One of which it does not matter who sampled it, nor with what advantage: both are 0."""
        own = np.asarray(ids, np.int32)
        zeros = np.zeros(len(own), np.float32)
        weights, turns = np.asarray(weight, np.float32), np.asarray(turn, np.int32)
        return cls(own, weights, zeros, zeros, turns, trajectory, **more)

    @property
    def demonstrated(self) -> bool:
        """Whether an expert said it: nobody sampled it."""
        return "demonstration" in self.columns and bool(self.columns["demonstration"].any())

    def numbered(self, first: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Where its sampled tokens stand, and the number of each in the whole batch.

        ``first`` [N]: the number of each turn's first token. The tokens of a turn follow each other.
        """
        where = np.flatnonzero(self.turn >= 0)
        turn = self.turn[where]
        begins = np.flatnonzero(np.diff(turn, prepend=-1))
        within = np.arange(len(where)) - np.repeat(begins, np.diff(begins, append=len(where)))
        return where, first[turn] + within


@dataclass(slots=True)
class Rows:
    """One row per trained token [n], in the order of the samples it came from; a sample's rows stand together."""

    logprobs: torch.Tensor
    entropies: torch.Tensor
    old_logprobs: torch.Tensor
    advantages: torch.Tensor
    weight: torch.Tensor
    sample: torch.Tensor  # which of these rows' samples, from 0
    columns: dict[str, torch.Tensor] = field(default_factory=dict)
    hidden: torch.Tensor = field(default_factory=lambda: torch.zeros(0))  # [n, H] what the tokens are predicted from
    step: int = 0  # optimiser steps done
    state: dict[str, Any] = field(default_factory=dict)  # a loss's memory, saved with checkpoints

    @property
    def ratio(self) -> torch.Tensor:
        return torch.exp(self.logprobs - self.old_logprobs)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sums of ``values`` [n] over each sample [samples]."""
        count = int(self.sample.max()) + 1 if len(self.sample) else 0
        return torch.zeros(count, dtype=values.dtype, device=values.device).index_add(0, self.sample, values)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Means of ``values`` [n] over each sample [samples]."""
        return self.total(values) / self.total(torch.ones_like(values))

    @staticmethod
    def join(parts: Sequence[Rows]) -> Rows:
        """Rows of several batches as one."""
        first, sample, offset = parts[0], [], 0
        for rows in parts:
            sample.append(rows.sample + offset)
            offset += int(rows.sample.max()) + 1 if len(rows.sample) else 0
        plain = ("logprobs", "entropies", "old_logprobs", "advantages", "weight")
        joined = {name: torch.cat([getattr(rows, name) for rows in parts]) for name in plain}
        columns = {name: torch.cat([rows.columns[name] for rows in parts]) for name in first.columns}
        return Rows(**joined, sample=torch.cat(sample), columns=columns, step=first.step, state=first.state)


@dataclass(slots=True)
class Batch:
    """Model input [B, W] and, for each prediction the losses want, where it stands (flat index into B*W) and of what.

    ``index`` gathers rows from predictions; None: they are the rows.
    """

    input_ids: torch.Tensor
    tree: Tree | None  # how the one row is to be read; None: plain causal rows
    paths: list[Ints]  # where each sample's ids stand among B*W
    at: torch.Tensor
    targets: torch.Tensor
    index: torch.Tensor | None
    given: Rows  # all but logprobs, entropies and hidden states, which are empty
    placed: list[tuple[Sample, npt.NDArray[np.int64]]]  # whose rows these are, and where in the sample each stands
    tokens: int  # ids of the samples
    images: list[tuple[str, ...]]  # of each sample

    def forward(self, model: Any, temperature: float = 1.0, entropy_gradient: bool = False) -> Rows:
        """Rows with the model's logprobs and entropies; the entropies carry a gradient only where asked."""
        device = next(model.parameters()).device
        hidden = self._hidden(model, device).flatten(0, 1)[self.at.to(device)]
        logprobs, entropies = token_logprobs(model, hidden, self.targets.to(device), temperature, entropy_gradient)
        if self.index is not None:
            logprobs, entropies, hidden = (values[self.index.to(device)] for values in (logprobs, entropies, hidden))
        given = self.given
        return replace(
            given,
            logprobs=logprobs,
            entropies=entropies,
            hidden=hidden,
            old_logprobs=given.old_logprobs.to(device),
            advantages=given.advantages.to(device),
            weight=given.weight.to(device),
            sample=given.sample.to(device),
            columns={name: column.to(device) for name, column in given.columns.items()},
        )

    def by_sample(self, values: npt.NDArray[Any]) -> Iterator[tuple[Sample, npt.NDArray[np.int64], npt.NDArray[Any]]]:
        """Each sample with where its rows stand in it, and its part of ``values`` [n]."""
        begin = 0
        for sample, where in self.placed:
            yield sample, where, values[begin : begin + len(where)]
            begin += len(where)

    def states(self, model: Any) -> torch.Tensor:
        """[n, H] the last layer's states that the trained tokens are predicted from."""
        device = next(model.parameters()).device
        hidden = self._hidden(model, device).flatten(0, 1)[self.at.to(device)]
        return hidden if self.index is None else hidden[self.index.to(device)]

    def _hidden(self, model: Any, device: torch.device) -> torch.Tensor:
        ids, tree = self.input_ids, self.tree
        eyes = getattr(model, "eyes", None)
        seen = looked(model, ids, self.images, self.paths) if any(self.images) or eyes else {}
        if tree is None:
            given = {name: value.to(device) for name, value in seen.items()}
            hidden: torch.Tensor = model.base_model(input_ids=ids.to(device), use_cache=False, **given)[0]
            return hidden
        extra = -ids.shape[1] % BLOCK if device.type != "cpu" else 0
        positions = seen.pop("position_ids", torch.from_numpy(tree.depth)[None])
        config = model.config.get_text_config()
        before = config._attn_implementation
        attend_by(model, NAME)
        tree.calls = tree.windows = 0
        try:
            hidden = model.base_model(
                input_ids=pad(ids, (0, extra)).to(device),
                attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),  # the tree is the mask
                position_ids=pad(positions, (0, extra)).to(device),
                use_cache=False,
                tree=tree,
                **{name: value.to(device) for name, value in seen.items()},
            )[0]
            layers = config.num_hidden_layers
            if tree.calls != layers:
                raise UserError(
                    f"{tree.calls} of this model's {layers} layers attend as transformers has it, so tokens of one "
                    "sample would reach another: set optim.batcher to padded"
                )
            if tree.windows < narrow(config):  # in their masks alone; short samples would not show it
                raise UserError(
                    f"{narrow(config)} of this model's layers have a window, and {tree.windows} tell attention of it: "
                    "set optim.batcher to padded"
                )
        except UserError:
            attend_by(model, before)
            raise
        return hidden


class Batcher(Protocol):
    """Cuts samples into batches of at most ``budget`` positions. Only the cost depends on the choice.

    ``model``: that will read them; only needed where it takes images.
    """

    def __call__(self, samples: Sequence[Sample], budget: int, model: Any = None) -> list[Batch]: ...


def padded(samples: Sequence[Sample], budget: int, model: Any = None) -> list[Batch]:
    """Right-padded rows of similar length. Causal attention never reaches padding, so no mask is needed."""
    batches: list[list[Sample]] = []
    for sample in sorted(samples, key=_inputs):
        if not batches or (len(batches[-1]) + 1) * _inputs(sample) > budget:
            batches.append([])
        batches[-1].append(sample)
    return [_pad(batch) for batch in batches]


def packed(samples: Sequence[Sample], budget: int, model: Any = None) -> list[Batch]:
    """One row of several samples, each seeing itself only; first-fit by falling length."""
    bins: list[list[Sample]] = []
    free: list[int] = []
    for sample in sorted(samples, key=lambda s: -_inputs(s)):
        fit = next((i for i, room in enumerate(free) if room >= _inputs(sample)), None)
        if fit is None:
            bins.append([])
            free.append(max(budget, _inputs(sample)))
            fit = len(bins) - 1
        bins[fit].append(sample)
        free[fit] -= _inputs(sample)
    return [_flat(batch, [s.ids[: _inputs(s)] for s in batch], share=False) for batch in bins]


def trie(samples: Sequence[Sample], budget: int, model: Any = None) -> list[Batch]:
    """Tries of at most ``budget`` nodes: a prefix that samples share is computed once. See :mod:`.trie`."""
    keys = [_keys(s, getattr(model, "eyes", None)) for s in samples]
    tries = cut(keys, budget)
    return [_flat([samples[i] for i in chosen], [keys[i] for i in chosen], share=True) for chosen in tries]


BATCHERS: dict[str, Batcher] = {"padded": padded, "packed": packed, "trie": trie}


def token_logprobs(
    model: Any, hidden: torch.Tensor, targets: torch.Tensor, temperature: float, entropy_gradient: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Natural-log probabilities [n] of ``targets`` [n] at the temperature, and entropies [n], from hidden [n, H].

    Logits are made in chunks that are computed again in the backward pass, so a [tokens x vocabulary] tensor never
    stands in memory.
    """

    def one(h: torch.Tensor, t: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = head_logits(model, h)
        logp = torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature, -1)
        seen = logp if entropy_gradient else logp.detach()
        entropy = -(seen.exp() * seen).sum(-1)
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
    trajectories: Sequence[Trajectory],
    advantages: npt.NDArray[np.float64],
    first_turn: Sequence[int],
    version: int | None = None,
) -> list[Sample]:
    """One sample a segment. ``advantages`` is per turn of the batch; a trajectory's turns start at ``first_turn``.

    ``version`` is the trainer's; tokens that an older policy sampled lag behind it (none: they do not).
    """
    groups: dict[str, int] = {}
    samples = []
    for index, (trajectory, first) in enumerate(zip(trajectories, first_turn, strict=True)):
        group = groups.setdefault(trajectory.group, len(groups))
        for segment in trajectory.segments():
            turn = np.where(segment.sampled, segment.turn + first, -1).astype(np.int32)
            gain = np.where(turn >= 0, advantages[np.maximum(turn, 0)], 0.0).astype(np.float32)
            lag = 0 if version is None else np.where(segment.version >= 0, version - segment.version, 0)
            columns = {
                "lag": np.broadcast_to(np.asarray(lag, np.float32), turn.shape),
                "success": np.full(len(turn), trajectory.success, np.float32),
                "group": np.full(len(turn), group, np.float32),
                "episode_turn": segment.turn.astype(np.float32),
            }
            weight = segment.sampled.astype(np.float32)
            samples.append(Sample(segment.ids, weight, segment.logprobs, gain, turn, index, columns, segment.images))
    return samples


def _inputs(sample: Sample) -> int:
    """How many ids must go in: what follows the last trained token is seen by nobody, nor is that token itself."""
    trained = np.flatnonzero(sample.weight)
    return max(1, int(trained[-1])) if len(trained) else 1


def _pad(samples: Sequence[Sample]) -> Batch:
    width = max(_inputs(s) for s in samples)
    ids = np.zeros((len(samples), width), np.int64)
    for row, sample in enumerate(samples):
        ids[row, : min(width, len(sample.ids))] = sample.ids[:width]
    return _batch(samples, ids, None, [row * width + np.arange(width) for row in range(len(samples))])


def _keys(sample: Sample, eyes: Vision | None) -> IntArray | Ints:
    """Input ids, with an image's digest for its placeholders."""
    ids = sample.ids[: _inputs(sample)]
    return keyed(ids, within(ids, [eyes.picture(url) for url in sample.images])) if eyes and sample.images else ids


def _flat(samples: Sequence[Sample], keys: Sequence[IntArray | Ints], share: bool) -> Batch:
    tree, paths = build(keys, share)
    ids = np.zeros((1, len(tree)), np.int64)
    for path, sample in zip(paths, samples, strict=True):
        ids[0, path] = sample.ids[: len(path)]
    return _batch(samples, ids, tree, paths)


def _batch(samples: Sequence[Sample], ids: Ints, tree: Tree | None, paths: list[Ints]) -> Batch:
    at, found = [], []
    for path, sample in zip(paths, samples, strict=True):
        where = np.flatnonzero(sample.weight[1:]) + 1  # a first token has nothing to be predicted from
        at.append(path[where - 1])
        found.append((sample, where))

    def tensor(arrays: Iterable[npt.NDArray[Any]], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        parts = [array[where] for array, (_, where) in zip(arrays, found, strict=True)]
        return torch.from_numpy(np.concatenate(parts)).to(dtype)

    columns = {name: tensor(s.columns[name] for s in samples) for name in samples[0].columns}
    old = tensor(s.old_logprobs for s in samples)
    columns.setdefault("sampler", old)
    nothing = torch.zeros(0)
    given = Rows(
        nothing,
        nothing,
        old,
        tensor(s.advantages for s in samples),
        tensor(s.weight for s in samples),
        torch.from_numpy(np.repeat(np.arange(len(found)), [len(where) for _, where in found])),
        columns,
    )
    stands, targets, index = (
        np.concatenate(at),
        np.concatenate([s.ids[where] for s, where in found]).astype(np.int64),
        None,
    )
    if tree is not None:  # samples that go the same way ask for the same predictions
        size = int(targets.max(initial=0)) + 1
        asked, index = np.unique(stands * size + targets, return_inverse=True)
        stands, targets = asked // size, asked % size
    return Batch(
        torch.from_numpy(ids),
        tree,
        paths,
        torch.from_numpy(stands),
        torch.from_numpy(targets),
        None if index is None else torch.from_numpy(index),
        given,
        found,
        sum(len(s.ids) for s in samples),
        [s.images for s in samples],
    )
