"""Ten thousand episodes with faults of every kind: ``python benchmarks/soak.py [--episodes 500] [--out FILE.json]``.

Environments hang, crash, raise, answer garbage, leak and answer late; the policy's engine fails in mid-generation.
Every fault is written to a ledger before it happens. At the end the ledger and the run's own counts must agree by kind,
every episode that could be played must have been, memory must stand still after the first 2,000 episodes, and open
files, child processes and threads must be back where they were. Exit code 1 where one of these does not hold.

Nine tenths of the episodes run in worker processes, with all kinds; the rest in threads of this process, with the kinds
that a process survives. The policy is a real one with random weights.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import faulty
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl.agents.chat import AgentConfig
from agentrl.policies.base import Request
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.trainers.models import train_tokenizer
from agentrl.types import Task, Trajectory

CHUNK = 250  # jobs given to the engine at once, as many as an iteration may have
RETRIES = 6
RESTART = "policy_error/policy"
MARK = "AGENTRL_SOAK"  # in the environment of all that is started here, so that orphans are found


class Restarting(TransformersPolicy):
    """Its engine fails after ``every`` forward passes, with whatever it was about to sample."""

    ledger = Path()
    every = 0
    steps = 0

    def _step(self) -> None:
        self.steps += 1
        rows = [row for row in (*self._waiting, *self._running) if not row.future.done()]
        if self.every and self.steps % self.every == 0 and self._running and rows:
            with (self.ledger / "lines.jsonl").open("a") as file:
                file.write(json.dumps({"kind": "restart", "requests": len(rows)}) + "\n")
            raise ConnectionError("the engine was restarted")
        super()._step()


def make_policy(ledger: Path, every: int) -> Restarting:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(["<action>go</action> ok start"], 320)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1}
    config = LlamaConfig(vocab_size=384, intermediate_size=48, max_position_embeddings=512, eos_token_id=1, **sizes)
    policy = Restarting(LlamaForCausalLM(config), tokenizer, slots=16)
    policy.ledger, policy.every = ledger, every
    return policy


def counts() -> dict[str, int]:
    """What this process holds."""
    return {"files": len(os.listdir("/proc/self/fd")), "threads": threading.active_count(), "children": children()}


def children() -> int:
    """Processes that descend from this one, and orphans that did: they still carry its mark."""
    mark, me = f"{MARK}={os.getpid()}".encode(), os.getpid()
    parents: dict[int, list[int]] = {}
    found: set[int] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone by now
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(process.name))
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.add(int(process.name))
    queue = [me]
    while queue:
        mine = parents.get(queue.pop(), [])
        found.update(mine)
        queue += mine
    return len(found - {me})


def memory_mib() -> float:
    """What this process holds in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def soak(episodes: int, share: float, places: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Play and compare; ``problems`` lists in words what does not hold."""
    os.environ[MARK] = str(os.getpid())
    policy = make_policy(folder, 300)
    asyncio.run(policy.generate(Request(np.array([5, 6], np.int32), 2, 0)))  # what torch starts, it has started now
    begin, start = time.perf_counter(), counts()
    threads = episodes // 10
    where = f"{faulty.__file__}:Faulty-v0"
    found: Counter[str] = Counter()
    lost: list[str] = []
    memory: list[tuple[int, float]] = []
    done = 0
    for first, last, workers in ((0, episodes - threads, places + places // 2), (episodes - threads, episodes, 0)):
        limits = Limits(turns=50, turn_tokens=4, step_seconds=seconds)
        rollout = Rollout(
            policy, AgentConfig(format="text"), limits, places, deterministic=False, workers=workers, recycle=50
        )
        options = {"ledger": str(folder), "share": share, "seconds": seconds, "threads": not workers}
        kwargs = tuple(sorted(options.items()))
        for at in range(first, last, CHUNK):
            jobs = [
                Job(f"{i}", Task(where, i, kwargs), i, group=f"{i // 4}", key=(i,))
                for i in range(at, min(last, at + CHUNK))
            ]
            played = asyncio.run(rollout.run(jobs, retries=RETRIES))
            lost += [problem for job, t in zip(jobs, played, strict=True) if (problem := judge(job, t, share, workers))]
            done += len(jobs)
            del played, jobs
            gc.collect()
            memory.append((done, memory_mib()))
            print(f"{done} episodes, {time.perf_counter() - begin:.0f} s, {memory[-1][1]:.0f} MiB", file=sys.stderr)
        rollout.close()
        found.update(rollout.failures)
    until = time.perf_counter() + 3 * seconds + 5  # threads that hang in this process wake up by themselves
    while counts() != start and time.perf_counter() < until:
        time.sleep(0.1)
    return report(folder, found, lost, memory, start, counts(), episodes, time.perf_counter() - begin)


def judge(job: Job, played: Trajectory, share: float, workers: int) -> str | None:
    """What is wrong with how an episode came out."""
    task = int(job.task.id)
    fault = faulty.fault_of(task, share, tuple(faulty.KINDS) if workers else faulty.IN_THREAD)
    if fault is not None and fault[1]:  # at every try: it must have failed, and of this
        kind = f"{played.stop.value}/{played.info.get('failed_in')}"
        expected = (faulty.KINDS[fault[0]], RESTART)  # its last try may have met the engine's fault instead
        return None if kind in expected else f"{job.id}: {fault[0]} ended as {kind} ({played.error})"
    if not played.trusted:
        return f"{job.id}: {fault or 'no fault'}, lost to {played.stop.value} ({played.error})"
    told = [turn.observation for turn in played.turns if turn.observation[:2] in ("st", "ok")]  # not what it said wrong
    whole = played.reward == 1.0 and played.success and told == [f"start {task}", "ok 1", "ok 2"]
    return None if whole else f"{job.id}: played, but not as it should be"


def report(
    folder: Path,
    found: Counter[str],
    lost: list[str],
    memory: list[tuple[int, float]],
    start: dict[str, int],
    end: dict[str, int],
    episodes: int,
    took: float,
) -> dict[str, Any]:
    lines = [json.loads(line) for line in (folder / "lines.jsonl").read_text().splitlines()]
    kinds = Counter(line["kind"] for line in lines)
    expected: Counter[str] = Counter()
    for line in lines:
        key = RESTART if line["kind"] == "restart" else faulty.KINDS[line["kind"]]
        if key:
            expected[key] += line.get("requests", 1)
    late = [(n, mib) for n, mib in memory if n > 2000]
    slope = 1000 * float(np.polyfit(*zip(*late, strict=True), 1)[0]) if len(late) > 2 else None
    problems = [
        f"{key}: ledger {expected[key]}, run {found[key]}" for key in expected | found if expected[key] != found[key]
    ]
    problems += lost[:20]
    problems += [f"{name}: {start[name]} before, {end[name]} after" for name in start if start[name] != end[name]]
    if slope is not None and slope >= 1:
        problems.append(f"memory grows by {slope:.2f} MiB per 1,000 episodes")
    return {
        "episodes": episodes,
        "seconds": round(took, 1),
        "faults": dict(sorted(kinds.items())),
        "ledger": dict(sorted(expected.items())),
        "run": dict(sorted(found.items())),
        "memory_mib": [[n, round(mib, 1)] for n, mib in memory],
        "slope_mib_per_1000": slope,
        "before": start,
        "after": end,
        "problems": problems,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=10_000)
    parser.add_argument("--share", type=float, default=0.05, help="of the episodes that meet a fault of some kind")
    parser.add_argument("--places", type=int, default=8, help="episodes at once")
    parser.add_argument("--seconds", type=float, default=3.0, help="deadline of a step")
    parser.add_argument("--out", type=Path, default=None, help="where the figures go as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(args.episodes, args.share, args.places, args.seconds, Path(folder))
    text = json.dumps(found, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)
    sys.exit(1 if found["problems"] else 0)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
