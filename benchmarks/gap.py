"""How far sampler and trainer are apart, by the number format of each: |trainer - sampler| of logprobs.

    python benchmarks/gap.py [--policy small] [--episodes 32] [--engine transformers]

Prints a table: the same tasks and seeds played in float32 and in bfloat16, judged in float32, with products in bfloat16
(``optim.bf16``), and with all weights in bfloat16; padded rows and tries.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import replace
from unittest import mock

import numpy as np
import torch

from agentrl.agents.chat import AgentConfig
from agentrl.envs import registry
from agentrl.policies import vllm_engine
from agentrl.policies.load import Loaded, load_model, load_policy, locate
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.trainers.batching import BATCHERS, samples_of
from agentrl.types import Task, Trajectory

ENV, KWARGS = "agentrl/Household-v0", {"size": "tiny"}
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load(name: str, engine: str, format: str) -> Loaded:
    """The policy with its weights in a number format."""
    if engine == "vllm":  # which computes in float32 on a CPU unless it is told otherwise
        options = vllm_engine._cpu
        with mock.patch.object(vllm_engine, "_cpu", lambda *given: options(*given) | {"dtype": format}):
            return load_policy(name, engine=engine)
    loaded = load_policy(name)
    assert isinstance(loaded.policy, TransformersPolicy)
    return replace(loaded, policy=TransformersPolicy(loaded.policy.model.to(FORMATS[format]), loaded.policy.tokenizer))


def play(name: str, engine: str, format: str, episodes: int) -> list[Trajectory]:
    loaded = load(name, engine, format)
    policy = loaded.policy
    agent = AgentConfig.model_validate(loaded.agent) if loaded.agent else AgentConfig()
    ids = registry.split(registry.resolve(ENV).spec, "train", KWARGS)
    rollout = Rollout(policy, agent, Limits(turn_tokens=24), 64)
    jobs = [
        Job(f"{i}", Task(ENV, ids[i], tuple(KWARGS.items())), derive(0, "gap", i), key=(i,)) for i in range(episodes)
    ]
    try:
        return asyncio.run(rollout.run(jobs))
    finally:
        rollout.close()
        loaded.close()


def gaps(name: str, played: list[Trajectory], dtype: torch.dtype, autocast: bool, batcher: str) -> np.ndarray:
    model = load_model(locate(name))[0].to(dtype)
    first = np.cumsum([0, *(len(t.turns) for t in played)])
    samples = samples_of(played, np.zeros(first[-1]), first[:-1].tolist())
    device = next(model.parameters()).device.type
    found = []
    with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=autocast):
        for batch in BATCHERS[batcher](samples, 4096):
            rows = batch.forward(model)
            found.append((rows.logprobs.float() - rows.old_logprobs).abs().cpu().numpy())
    return np.concatenate(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="small")
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--engine", choices=("transformers", "vllm"), default="transformers")
    given = parser.parse_args()
    print(f"{'sampler':10} {'trainer':12} {'batches':8} {'tokens':>7} {'mean':>9} {'99%':>9} {'largest':>9}")
    for sampler in FORMATS:
        played = play(given.policy, given.engine, sampler, given.episodes)
        for trainer, own, autocast in (
            ("float32", torch.float32, False),
            ("optim.bf16", torch.float32, True),
            ("bfloat16", torch.bfloat16, False),
        ):
            for batcher in ("padded", "trie"):
                gap = gaps(given.policy, played, own, autocast, batcher)
                shown = f"{gap.mean():9.2g} {np.quantile(gap, 0.99):9.2g} {gap.max():9.2g}"
                print(f"{sampler:10} {trainer:12} {batcher:8} {len(gap):7} {shown}")


if __name__ == "__main__":
    main()
