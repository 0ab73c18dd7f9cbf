"""What the tests of sharded learning compute: in one process by ``result``, in several by torchrun and this file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl.trainers import sharded
from agentrl.trainers.batching import Sample
from agentrl.trainers.recipe import LossConfig, OptimConfig
from agentrl.trainers.update import Learner

V = 50
# name -> float type, tied embeddings, loss, options of the optimiser, how samples are shared out (none: by cost)
CASES = {
    "ppo": ("float64", True, {}, {}, None),
    "float32": ("float32", True, {}, {}, None),
    "all by the last": ("float64", True, {}, {}, "last"),
    "untied, at random": ("float64", False, {"aggregate": "sequence"}, {"batcher": "packed"}, "random"),
    "checkpointing": ("float64", True, {"aggregate": "turn"}, {"batcher": "padded", "checkpointing": True}, None),
    "gspo with terms": (
        "float64",
        True,
        {
            "policy": "gspo",
            "old": "recompute",
            "corrections": ["tis"],
            "terms": [{"kl": {"weight": 0.1}}, {"entropy": {"weight": 0.01}}],
        },
        {"grad_clip": 0.05, "ess": "sqrt"},
        None,
    ),
}


def model_of(dtype: str, tied: bool) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=V,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        tie_word_embeddings=tied,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    return LlamaForCausalLM(config).to(getattr(torch, dtype))


def samples() -> list[Sample]:
    """Nine episodes; six begin alike, one goes on where another ended, two are the same."""
    rng = np.random.default_rng(0)
    stem = rng.integers(0, V, 20)
    ids = [np.concatenate([stem, rng.integers(0, V, rng.integers(5, 30))]) for _ in range(6)]
    ids += [ids[0][:23], ids[1].copy(), rng.integers(0, V, 9)]
    made = []
    for k, own in enumerate(ids):
        n = len(own)
        trained = np.arange(n) % 4 > 0
        advantage = rng.normal(size=n).astype(np.float32)
        turn = np.where(trained, k, -1).astype(np.int32)
        old = rng.normal(-3.9, 0.1, n).astype(np.float32)
        made.append(Sample(own.astype(np.int32), trained.astype(np.float32), old, advantage, turn, k))
    return made


def learner(name: str, kind: type[Learner] = Learner, weights: dict[str, torch.Tensor] | None = None) -> Learner:
    dtype, tied, loss, optim, _ = CASES[name]
    model = model_of(dtype, tied)
    if weights is not None:
        model.load_state_dict(weights)
    loss = LossConfig(**loss, max_logprob_gap=99)
    optim = OptimConfig(**({"positions": 64, "minibatches": 2, "lr": 1e-2} | optim))
    reference = model_of(dtype, tied).requires_grad_(False) if loss.terms else None
    return kind(model, optim, loss, reference=reference)


def result(made: Learner, updates: range = range(3)) -> dict:
    """Metrics of each update, and the weights and optimiser state after the last."""
    metrics, state = [], {}
    for step in updates:
        metrics.append(made.update(samples(), step))
        state = made.state()  # as a checkpoint takes it, between updates
    return {"metrics": metrics, "weights": made.weights(), "state": state, "plain": made.plain().state_dict()}


def as_told(how: str):
    def share(given, parts, together):
        draw = np.random.default_rng(len(given)).integers(0, parts, len(given))
        owner = [parts - 1] * len(given) if how == "last" else draw.tolist()
        return [[s for s, part in zip(given, owner, strict=True) if part == k] for k in range(parts)]

    return share


def main(jobs: Path, out: Path) -> None:
    """Each of the ``jobs``: name -> case, the job whose end it goes on from (none: a fresh one), and which updates.

    What went before is saved, one process does one update of its own with it, and saves it again.
    """
    sharded._join()
    by_cost = sharded.share
    found, between = {}, out.with_name("between.pt")
    for name, (case, before, first, last) in torch.load(jobs).items():
        how = CASES[case][-1]
        sharded.share = as_told(how) if how else by_cost
        if before and not sharded.rank():
            torch.save(found[before], between)
            torch.save(result(resumed(case, Learner, between), range(first - 1, first)), between)
        torch.distributed.barrier()
        made = resumed(case, sharded.ShardedLearner, between) if before else learner(case, sharded.ShardedLearner)
        if sharded.rank():
            sharded.obey(made)
        else:
            found[name] = result(made, range(first, last))
            sharded.let_go()
    if not sharded.rank():
        torch.save(found, out)
    torch.distributed.barrier()  # who leaves while another is still at work can make torch abort
    torch.distributed.destroy_process_group()


def resumed(case: str, kind: type[Learner], saved: Path) -> Learner:
    state = torch.load(saved, weights_only=False)
    made = learner(case, kind, state["weights"])
    made.load(state["state"])
    return made


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
