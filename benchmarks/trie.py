"""What sharing prefixes gains: ``python benchmarks/trie.py [--only household] [--repeats 3]``. Prints JSON.

Forward and backward of the same samples, padded, packed and as a trie, one after the other in one run, in processor
seconds of one thread; the best of the repeats counts. ``bound`` is total / unique tokens: what a trie could gain over
packing if attention and all else were free; ``of_bound`` is the share of that which it reaches; ``building`` is the
share of a trie's time that goes into making the batches.

branched    8 rollouts of 512 tokens of which the first 384 are one
per turn    an episode of 12 turns, each turn a sample with all that came before it
window(3)   4 episodes of 12 turns, each turn a sample with the instructions and the last 3 turns
household   one iteration of the recipe ``household``, 12 tasks x 8 episodes by the policy ``small``, in 4 minibatches
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl import store
from agentrl.policies.linear import speed_up
from agentrl.policies.load import load_model, locate
from agentrl.trainers import credit, recipe
from agentrl.trainers.batching import BATCHERS, Sample, samples_of
from agentrl.trainers.loop import Training
from agentrl.trainers.trie import build, in_order

V, TURN, HEAD = 1024, 40, 60
LAYOUTS = ("padded", "packed", "trie")


def sample(ids: np.ndarray, trained: int, number: int) -> Sample:
    """The last ``trained`` ids carry loss."""
    n = len(ids)
    on = (np.arange(n) >= n - trained).astype(np.float32)
    zeros = np.zeros(n, np.float32)
    return Sample(ids.astype(np.int32), on / trained, zeros - 6.9, zeros + 1, np.where(on > 0, number, -1), number)


def branched(rng: np.random.Generator) -> list[Sample]:
    stem = rng.integers(0, V, 384)
    return [sample(np.concatenate([stem, rng.integers(0, V, 128)]), 128, k) for k in range(8)]


def per_turn(rng: np.random.Generator) -> list[Sample]:
    ids = rng.integers(0, V, HEAD + 12 * TURN)
    return [sample(ids[: HEAD + (k + 1) * TURN], TURN // 4, k) for k in range(12)]


def window(rng: np.random.Generator) -> list[Sample]:
    head, made = rng.integers(0, V, HEAD), []
    for episode in range(4):
        ids = rng.integers(0, V, 12 * TURN)
        for k in range(12):
            seen = ids[max(0, k - 2) * TURN : (k + 1) * TURN]
            made.append(sample(np.concatenate([head, seen]), TURN // 4, 12 * episode + k))
    return made


def household() -> list[list[Sample]]:
    """The minibatches of the first update of the bundled recipe."""
    chosen = recipe.load("household", ["evaluate=false", "iterations=1", "threads=1"])
    with tempfile.TemporaryDirectory() as folder:
        run = Training.new(chosen, Path(folder) / "run").run()
        groups = list(store.read(run.folder / "trajectories"))
    table = credit.TurnTable.from_groups(groups, chosen.anchor)
    given = credit.assign(table, chosen.rewards, chosen.credit)
    kept = {t.id: t for group in groups for t in group}
    made = samples_of([kept[id] for id in given.table.ids], given.advantages, given.table.start.tolist())
    order = np.random.default_rng(0).permutation(len(made))
    return [[made[i] for i in part] for part in np.array_split(order, chosen.optim.minibatches)]


def seconds(model: Any, layout: str, parts: Sequence[Sequence[Sample]], positions: int) -> tuple[float, float]:
    """Processor seconds of forward and backward, and of making the batches alone."""
    begin = time.process_time()
    batches = [batch for part in parts for batch in BATCHERS[layout](part, positions)]
    made = time.process_time() - begin
    for batch in batches:
        rows = batch.forward(model)
        (rows.weight * rows.advantages * rows.logprobs).sum().backward()
    took = time.process_time() - begin
    model.zero_grad()
    return took, made


def measure(model: Any, parts: Sequence[Sequence[Sample]], repeats: int, positions: int = 4096) -> dict[str, Any]:
    sequences = [[s.ids for s in part] for part in parts]
    total = sum(len(ids) for part in sequences for ids in part)
    unique = sum(len(build([part[i] for i in in_order(part)])[0]) for part in sequences)
    found: dict[str, list[tuple[float, float]]] = {layout: [] for layout in LAYOUTS}
    seconds(model, "padded", parts[:1], positions)  # warm
    for _ in range(repeats):
        for layout in LAYOUTS:
            found[layout].append(seconds(model, layout, parts, positions))
    best = {layout: min(times) for layout, times in found.items()}
    gain = best["packed"][0] / best["trie"][0]
    return {
        "tokens": total,
        "unique": unique,
        "tokens_per_second": {layout: round(total / took) for layout, (took, _) in best.items()},
        "trie_over_padded": round(best["padded"][0] / best["trie"][0], 2),
        "trie_over_packed": round(gain, 2),
        "bound": round(total / unique, 2),
        "of_bound": round(gain * unique / total, 2),
        "building": round(best["trie"][1] / best["trie"][0], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["branched", "per turn", "window(3)", "household"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2}
    config = LlamaConfig(vocab_size=V, intermediate_size=768, max_position_embeddings=1024, **shape)
    rng = np.random.default_rng(0)
    made = {"branched": branched(rng), "per turn": per_turn(rng), "window(3)": window(rng)}
    report: dict[str, Any] = {}
    for name, samples in made.items():
        if given.only in (None, name):
            report[name] = measure(speed_up(LlamaForCausalLM(config)), [samples], given.repeats)
    if given.only in (None, "household"):
        report["household"] = measure(load_model(locate("small"))[0], household(), given.repeats)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
