"""Learning by several processes, each with a part of the weights (FSDP2), started by torchrun.

Process 0 does what a run of one process does. The others follow: they wait for the name of a method of the learner,
and then all do the same. Each computes the gradient of its share of a minibatch, whose weights were worked out before
the split, so gradients are added up and never averaged. What is exact only in one process is refused.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from agentrl.envs import plugins
from agentrl.errors import UserError
from agentrl.policies.load import load_model
from agentrl.policies.prefixes import common, in_order
from agentrl.trainers.batching import BATCHERS, Batch, Rows, Sample
from agentrl.trainers.checkpoint import load_state
from agentrl.trainers.losses.objective import objective
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.update import Learner

T = TypeVar("T")
_FOREVER = timedelta(days=365)  # the others wait while process 0 plays episodes
_GONE = "another process of this run has ended; go on from the last checkpoint: agentrl train --resume RUN"
_LOST = re.compile("peer|socket|broken pipe|remote process|connection|got 0 bytes", re.IGNORECASE)


def processes() -> int:
    """How many torchrun started; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return int(os.environ["RANK"]) if dist.is_torchelastic_launched() else 0


def check(recipe: Recipe) -> None:
    """Raises UserError for what several processes would not compute as one does."""
    made = objective(recipe.loss.policy, recipe.loss.corrections, recipe.loss.terms)
    refused = {f"loss {id}, which sees a whole step at once,": True for id in made.whole}
    refused["the loss term consistency"] = "full" in made.needs
    refused |= {key: getattr(recipe, key) is not None for key in ("lora", "value", "prime", "agentprm")}
    refused |= {"optim.muon": recipe.optim.muon is not None, "rollout.staleness": recipe.rollout.staleness > 0}
    refused |= {"rollout.stream": recipe.rollout.stream, "policy.engine=vllm": recipe.policy.engine != "transformers"}
    refused |= {f"loss.old={recipe.loss.old}": recipe.loss.old in ("snapshot", "ema")}
    for what, asked in refused.items():
        if asked:
            raise UserError(f"{what} works in one process only: leave it out, or run agentrl train without torchrun")


def lead(recipe: Recipe, where: Path | str, resumed: bool, model: Any, tokenizer: Any) -> Learner:
    """The learner of process 0. ``model``, loaded from ``where``, is taken apart; the others load it again."""
    _join()
    dist.broadcast_object_list([(recipe, where, resumed)], 0, _commands())
    signal.signal(signal.SIGTERM, _gone)
    return ShardedLearner.of(recipe, model, tokenizer)


def follow() -> None:
    """Be one of the other processes until process 0 is done or gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # process 0 decides what Ctrl-C means
    try:
        _join()
        said: list[Any] = [None]
        dist.broadcast_object_list(said, 0, _commands())
        recipe, where, resumed = said[0]
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        for name in recipe.plugins:
            plugins.load(name)
        learner = ShardedLearner.of(recipe, *load_model(where))
        if resumed:
            learner.load(load_state(where)["learner"])
        obey(learner)
        dist.destroy_process_group()
    except Exception as error:
        if not _lost(error):
            line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            print(f"error: process {rank()} of {processes()}: {line}", file=sys.stderr)
        os._exit(1)


def obey(learner: ShardedLearner) -> None:
    """Do what process 0 does with its learner, until it lets go."""
    said: list[Any] = [None]
    while True:
        dist.broadcast_object_list(said, 0, _commands())
        if said[0] is None:
            return
        name, args, options = said[0]
        getattr(learner, name)(*args, **options)


def let_go() -> None:
    """Process 0 has nothing more to say to the others about this learner."""
    dist.broadcast_object_list([None], 0, _commands())


def share(samples: Sequence[Sample], parts: int, together: bool) -> list[list[Sample]]:
    """``samples`` in ``parts`` of about the same cost. In the order of their ids, so that tries go on sharing.

    ``together``: whether a prefix that several share costs once.
    """
    order = in_order([sample.ids for sample in samples])
    ids = [samples[i].ids for i in order]
    known = [0, *(common(a, b) if together else 0 for a, b in pairwise(ids))]
    ends = np.cumsum([len(own) - n for own, n in zip(ids, known, strict=True)])
    middles = ends - np.diff(ends, prepend=0) / 2
    found: list[list[Sample]] = [[] for _ in range(parts)]
    for i, middle in zip(order, middles, strict=True):
        found[min(parts - 1, int(middle * parts / max(1, ends[-1])))].append(samples[i])
    return found


M = TypeVar("M", bound=Callable[..., Any])


def _together(method: M) -> M:
    """What all processes must do at the same time: process 0 tells the others."""

    @functools.wraps(method)
    def called(self: ShardedLearner, *args: Any, **options: Any) -> Any:
        if self.rank:
            return method(self, *args, **options)
        try:
            with _uninterrupted():
                dist.broadcast_object_list([(method.__name__, args, options)], 0, _commands())
                return method(self, *args, **options)
        except RuntimeError as error:
            if not _lost(error):
                raise
            _gone()

    return called  # type: ignore[return-value]


@dataclass
class ShardedLearner(Learner):
    """A learner whose weights, gradients and moments lie in parts on all processes.

    What it returns is whole, on process 0.
    """

    rank: int = field(init=False)
    passes: dict[int, nn.Module] = field(init=False)  # by the identity of the model within

    @_together
    def update(self, samples: Sequence[Sample], seed: int, progress: float = 0.0) -> dict[str, float]:
        return super().update(samples, seed, progress)

    @_together
    def weights(self) -> dict[str, torch.Tensor]:
        found = {}
        for name, value in self.model.state_dict().items():
            full = _full(value)
            if self.rank == 0:
                found[name] = full
        return found

    def plain(self) -> nn.Module:
        model: Any = self.model
        with torch.device("meta"):
            made = type(model)(model.config)
        made.load_state_dict(self.weights(), assign=True)
        made.tie_weights()
        made.generation_config = model.generation_config
        return made  # type: ignore[no-any-return]

    @_together
    def state(self) -> dict[str, Any]:
        """As of one process: it can be loaded by any number of them."""
        state = super().state()
        for part in state["optimizer"]:  # the moments' own dictionaries are the optimiser's: they stay as they are
            part["state"] = {
                i: {name: _full(value) for name, value in moments.items()} for i, moments in part["state"].items()
            }
            if self.rank:
                part["state"] = {}
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Each process takes its part; nothing is sent."""
        for part, own in zip(state["optimizer"], self.optimizer.parts, strict=True):
            weights = [p for group in own.param_groups for p in group["params"]]
            for i, moments in part["state"].items():
                for name, value in moments.items():
                    if value.shape == weights[i].shape:
                        moments[name] = _part(value, weights[i])
        super().load(state)

    def close(self) -> None:
        let_go()
        dist.destroy_process_group()

    # -- what all of them do at once -----------------------------------------------------------------------------------

    def _place(self) -> None:
        self.rank = dist.get_rank()
        mesh = init_device_mesh(next(self.model.parameters()).device.type, (dist.get_world_size(),))
        models = [model for model in (self.model, self.reference, self.teacher) if model is not None]
        self.passes = {id(model): _sharded(model, mesh) for model in models}

    def _batches(self, samples: Sequence[Sample]) -> list[Batch]:
        own = share(samples, dist.get_world_size(), self.batcher == "trie")[self.rank]
        batches = super()._batches(own) if own else []
        most = max(self._gathered(len(batches)))
        idle = BATCHERS["padded"]([_nothing(samples[0])], 1)
        return batches + idle * (most - len(batches))  # weights are gathered for a pass: all must make as many

    def _pass(self, batch: Batch, model: nn.Module, entropy_gradient: bool) -> Rows:
        rows: Rows
        logprobs, entropies, rows = self.passes[id(model)](batch, self.temperature, entropy_gradient)
        return replace(rows, logprobs=logprobs, entropies=entropies)

    def _gathered(self, own: T) -> list[T]:
        found: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(found, own, _commands())
        return found

    def _checked(self, gaps: Sequence[np.ndarray]) -> dict[str, float]:
        return super()._checked(gaps) if self.rank == 0 else {}  # it is for one to complain


class _Pass(nn.Module):
    """A model whose forward pass is that of a batch, head and all: FSDP gathers weights for a module's forward."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, batch: Batch, temperature: float, entropy_gradient: bool
    ) -> tuple[torch.Tensor, torch.Tensor, Rows]:
        rows = batch.forward(self.model, temperature, entropy_gradient)
        nothing = torch.zeros(0)
        rest = replace(rows, logprobs=nothing, entropies=nothing, hidden=nothing)
        return rows.logprobs.clone(), rows.entropies.clone(), rest  # FSDP wants no views


def _sharded(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """``model`` cut in place, layer by layer; embedding, head and the rest together."""
    names = getattr(model, "_no_split_modules", None) or ()
    for layer in [module for module in model.modules() if type(module).__name__ in names]:
        fully_shard(layer, mesh=mesh)
    made = _Pass(model)
    fully_shard(made, mesh=mesh)
    for module in made.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return made


def _nothing(sample: Sample) -> Sample:
    """One token of ``sample``, which teaches nothing and makes no rows."""
    columns = {name: column[:1] for name, column in sample.columns.items()}
    return Sample.plain(sample.ids[:1], [0.0], sample.turn[:1], sample.trajectory, columns=columns)


def _full(value: torch.Tensor) -> torch.Tensor:
    return (value.full_tensor() if isinstance(value, DTensor) else value).cpu()


def _part(whole: torch.Tensor, weight: Any) -> torch.Tensor:
    found: torch.Tensor = distribute_tensor(
        whole.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
    )
    return found


def _join() -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")


@functools.cache
def _commands() -> Any:
    """The group that process 0 tells the others through, on CPUs."""
    return dist.new_group(backend="gloo", timeout=_FOREVER)


def _lost(error: Exception) -> bool:
    """Whether another process is gone."""
    return isinstance(error, RuntimeError) and bool(_LOST.search(str(error)))


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until all have done what they do together: the others would wait for ever."""
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked and callable(before):
        before(signal.SIGINT, None)


def _gone(*_: Any) -> NoReturn:
    """Another process has ended: this one finds out by itself, or torchrun tells it, and says so once."""
    if signal.signal(signal.SIGTERM, signal.SIG_IGN) is not signal.SIG_IGN:
        print(f"error: {_GONE}", file=sys.stderr)
    raise SystemExit(2)
