"""The store: how fast it is, and what chance, WebShop's rule, and the expert earn on its unseen requests.

    python benchmarks/shop.py [--tasks 500]

Prints JSON. ``rule`` types the request in, opens the first result and buys it, as WebShop's rule baseline does.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

from agentrl.envs import registry
from agentrl.envs.random_actions import random_action


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=500)
    asked = parser.parse_args()
    rng = random.Random(0)
    env: Any = registry.make("agentrl/Shop-v0:unseen")
    begin = time.perf_counter()
    tasks = list(env.task_source()[: asked.tasks])
    env.reset(options={"task": tasks[0]})
    first = time.perf_counter() - begin
    found: dict[str, Any] = {"first_reset_s": round(first, 2)}
    players: dict[str, Callable[[], Any]] = {
        "random": lambda: random_action(env, rng),
        "rule": lambda: rule(env),
        "expert": env.expert,
    }
    for name, player in players.items():
        scores, steps, seconds = [], 0, 0.0
        for task in tasks:
            env.reset(options={"task": task})
            reward, over, turns = 0.0, False, 0
            while not over and turns < env.max_turns:
                action = player()
                begin = time.perf_counter()
                _, reward, over, _, _ = env.step(action)
                seconds += time.perf_counter() - begin
                turns += 1
            steps += turns
            scores.append(reward)
        found[name] = {
            "score": round(100 * statistics.mean(scores), 1),
            "success": round(100 * statistics.mean(score == 1 for score in scores), 1),
            "turns": round(steps / len(tasks), 1),
            "steps_per_second": round(steps / seconds),
        }
    print(json.dumps(found, indent=2))


def rule(env: Any) -> str:
    actions = env.admissible_actions()
    return "click[buy now]" if "click[buy now]" in actions else str(actions[0])


if __name__ == "__main__":
    main()
