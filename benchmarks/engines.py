"""The same rollouts by both engines, and what agentrl costs over vLLM's bare generate.

    .venv-vllm/bin/python benchmarks/engines.py [--policy small] [--episodes 128] [--concurrency 64]

Prints a JSON object. Episodes have the same tasks and seeds; their texts differ, because the engines draw differently.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import platform
import time
from typing import Any

import numpy as np
import torch

from agentrl.agents.chat import AgentConfig
from agentrl.envs import registry
from agentrl.policies.base import Counters, Request
from agentrl.policies.load import load_policy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.types import Task, Trajectory

ENV, KWARGS = "agentrl/Household-v0", {"size": "tiny"}


def jobs(episodes: int) -> list[Job]:
    ids = registry.split(registry.resolve(ENV).spec, "train", KWARGS)
    tasks = [Task(ENV, ids[i % len(ids)], tuple(KWARGS.items())) for i in range(episodes)]
    return [Job(f"{i:05d}", task, derive(0, "engines", i), group=str(i), key=(i,)) for i, task in enumerate(tasks)]


def roll(loaded: Any, episodes: int, concurrency: int) -> tuple[dict[str, float], list[Trajectory]]:
    policy = loaded.policy
    agent = AgentConfig.model_validate(loaded.agent) if loaded.agent else AgentConfig()
    rollout = Rollout(policy, agent, Limits(turn_tokens=24), concurrency, deterministic=False)
    try:
        asyncio.run(rollout.run(jobs(16)))  # what is computed once is computed now
        policy.counters = Counters()
        begin = time.perf_counter()
        played = asyncio.run(rollout.run(jobs(episodes)))
        seconds = time.perf_counter() - begin
    finally:
        rollout.close()
    counters = policy.counters
    prompts = sum(len(turn.prompt_ids) for t in played for turn in t.turns)
    return {
        "seconds": round(seconds, 2),
        "episodes_per_second": round(len(played) / seconds, 2),
        "tokens_per_second": round(counters.sampled_tokens / seconds, 1),
        "turns": sum(len(t.turns) for t in played),
        "success": round(float(np.mean([t.success for t in played])), 3),
        "prefix_hit_rate": round(1 - counters.prefill_tokens / prompts, 3),
        "prefill_ratio": round(counters.prefill_tokens / counters.new_tokens, 2),
    }, played


def overhead(policy: Any, played: list[Trajectory], repeats: int) -> dict[str, float]:
    """Seconds for the same requests by the policy and by vLLM alone, the better of ``repeats`` each, in turns."""
    turns = [turn for t in played for turn in t.turns][:1024]
    requests = [Request(turn.prompt_ids, 24, seed=i, stop=("</action>",)) for i, turn in enumerate(turns)]

    async def ours() -> None:
        await asyncio.gather(*(policy.generate(request) for request in requests))

    async def bare() -> None:
        await asyncio.gather(*(policy._ask(policy._engine, request) for request in requests))

    def timed(run: Any) -> float:
        policy._call(policy._engine.reset_prefix_cache())
        begin = time.perf_counter()
        run()
        return time.perf_counter() - begin

    times: dict[str, list[float]] = {"policy": [], "bare": []}
    for _ in range(repeats):
        times["bare"].append(timed(lambda: policy._call(bare())))
        times["policy"].append(timed(lambda: asyncio.run(ours())))
    best = {name: min(found) for name, found in times.items()}
    found = {f"{name}_seconds": round(seconds, 3) for name, seconds in best.items()}
    return {"requests": len(requests), **found, "overhead": round(best["policy"] / best["bare"] - 1, 3)}


def gap(policy: Any, model: Any, played: list[Trajectory]) -> dict[str, float]:
    """|vLLM - trainer| logprob of tokens that vLLM sampled."""
    found = []
    for t in played[:32]:
        for turn in t.turns:
            ids = torch.from_numpy(np.concatenate([turn.prompt_ids, turn.completion_ids]).astype(np.int64))[None]
            start = turn.prompt_ids.size
            with torch.inference_mode():
                logp = torch.log_softmax(model(ids).logits[0, start - 1 : -1].float(), -1)
            wanted = logp.gather(-1, ids[0, start:, None])[:, 0].numpy()
            found.append(np.abs(wanted - turn.logprobs))
    gaps = np.concatenate(found)
    return {"tokens": len(gaps), "mean": float(gaps.mean()), "max": float(gaps.max())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="small")
    parser.add_argument("--episodes", type=int, default=128)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    report: dict[str, Any] = {"policy": given.policy, "device": device, "threads": torch.get_num_threads()}
    with contextlib.closing(load_policy(given.policy, slots=given.concurrency)) as plain:
        report["transformers"], _ = roll(plain, given.episodes, given.concurrency)
        with contextlib.closing(load_policy(given.policy, engine="vllm", slots=given.concurrency)) as engine:
            report["vllm"], played = roll(engine, given.episodes, given.concurrency)
            report["gap"] = gap(engine.policy, plain.policy.model, played)
            report["over_bare_generate"] = overhead(engine.policy, played, given.repeats)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
