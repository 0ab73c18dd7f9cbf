"""MiniWoB++ in Chromium: success and mean reward of chance and of the scripted solvers, task by task.

    python benchmarks/pages.py [--episodes 20] [--pages click-test,enter-text] [--players random,expert]

Prints JSON. Instances are those of the split ``unseen``.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from typing import Any

from agentrl.envs import registry
from agentrl.envs.miniwob.solvers import SOLVERS
from agentrl.envs.miniwob.tasks import TASKS, UNSEEN
from agentrl.envs.random_actions import random_action


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--pages", default=",".join(TASKS))
    parser.add_argument("--players", default="random,expert")
    asked = parser.parse_args()
    rows = {}
    for page in asked.pages.split(","):
        rows[page] = {
            player: played(page, player, asked.episodes)
            for player in asked.players.split(",")
            if player == "random" or page in SOLVERS
        }
        print(page, rows[page], file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))


def played(page: str, player: str, episodes: int) -> dict[str, float]:
    env: Any = registry.make(f"agentrl/MiniWoB-{page}-v0")
    rng, rewards, steps, begin = random.Random(0), [], 0, time.perf_counter()
    for seed in UNSEEN[:episodes]:
        env.reset(options={"task": seed})
        reward, over, turns = 0.0, False, 0
        while not over and turns < env.max_turns:
            try:
                action = random_action(env, rng) if player == "random" else env.expert()
            except Exception as error:
                print(page, seed, repr(error), file=sys.stderr)
                break
            _, reward, over, _, _ = env.step(action)
            turns += 1
        rewards.append(reward)
        steps += turns
    seconds = time.perf_counter() - begin
    env.close()
    return {
        "success": round(100 * statistics.mean(reward >= 1 for reward in rewards), 1),
        "reward": round(statistics.mean(rewards), 3),
        "ms_per_step": round(1000 * seconds / max(1, steps)),
    }


if __name__ == "__main__":
    main()
