"""How fast the household is on one core: ``python benchmarks/household.py [--out FILE.json]``.

Random admissible play, so that the sorted list of admissible commands is part of every step.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from agentrl.envs.household.engine import Engine
from agentrl.envs.household.env import Household
from agentrl.envs.household.tasks import SIZES, layout_of, splits

TASKS = 200
REPEATS = 3


def steps_per_second(size: str) -> float:
    """Engine steps with admissible list and goal check."""
    layouts = [layout_of(task) for task in splits(size)["train"][:TASKS]]
    rng, steps, start = random.Random(0), 0, time.perf_counter()
    for layout in layouts:
        engine = Engine(layout)
        for _ in range(layout.limit):
            found = engine.admissible()
            engine.step(found[int(rng.random() * len(found))])
            engine.solved()
            steps += 1
    return steps / (time.perf_counter() - start)


def env_steps_per_second(size: str) -> float:
    """``env.step`` and ``env.admissible_actions`` with resets."""
    env, rng, steps, start = Household(size=size), random.Random(0), 0, time.perf_counter()
    for task in splits(size)["train"][:TASKS]:
        env.reset(options={"task": task})
        for _ in range(layout_of(task).limit):
            found = env.admissible_actions()
            steps += 1
            if env.step(found[int(rng.random() * len(found))])[2]:
                break
    return steps / (time.perf_counter() - start)


def expert_microseconds(size: str) -> float:
    """One ``env.expert`` call and the ``env.step`` of it."""
    env, steps, start = Household(size=size), 0, time.perf_counter()
    for task in splits(size)["train"][:TASKS]:
        env.reset(options={"task": task})
        done = False
        while not done:
            done = env.step(env.expert())[2]
            steps += 1
    return 1e6 * (time.perf_counter() - start) / steps


def microseconds(call: Callable[[str], object], tasks: Sequence[str]) -> float:
    start = time.perf_counter()
    for task in tasks:
        call(task)
    return 1e6 * (time.perf_counter() - start) / len(tasks)


def measure(size: str) -> dict[str, float]:
    env = Household(size=size)
    tasks = splits(size)["train"][:TASKS]
    layout_of.cache_clear()
    cold = microseconds(lambda task: env.reset(options={"task": task}), tasks)
    cached = microseconds(lambda task: env.reset(options={"task": task}), tasks)
    saved = env.snapshot()
    return {
        "engine_steps_per_second": max(steps_per_second(size) for _ in range(REPEATS)),
        "env_steps_per_second": max(env_steps_per_second(size) for _ in range(REPEATS)),
        "expert_step_us": min(expert_microseconds(size) for _ in range(REPEATS)),
        "snapshot_us": min(microseconds(lambda _: env.snapshot(), tasks) for _ in range(REPEATS)),
        "restore_us": min(microseconds(lambda _: env.restore(saved), tasks) for _ in range(REPEATS)),
        "state_key_us": min(microseconds(lambda _: env.state_key(), tasks) for _ in range(REPEATS)),
        "reset_cold_us": cold,
        "reset_cached_us": cached,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("household.json"), help="where the figures go as JSON")
    out = parser.parse_args().out
    figures = {size: {name: round(value, 2) for name, value in measure(size).items()} for size in SIZES}
    report = {"python": platform.python_version(), "machine": platform.machine(), "figures": figures}
    out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{'':26}" + "".join(f"{size:>12}" for size in SIZES))
    for name in figures["tiny"]:
        print(f"{name:26}" + "".join(f"{figures[size][name]:12,.1f}" for size in SIZES))


if __name__ == "__main__":
    main()
