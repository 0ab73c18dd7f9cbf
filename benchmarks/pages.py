"""MiniWoB++ in Chromium: success and mean reward of chance and of the scripted solvers, task by task.

    python benchmarks/pages.py [--episodes 20] [--pages click-test,enter-text] [--players random,expert]
    python benchmarks/pages.py --resets 30

Prints JSON. Instances are those of the split ``unseen``. ``--resets`` times the resets of a MiniWoB page and of the web
sites instead, each beside what bounds it: the page's own script that makes a problem, or Chromium's navigation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from typing import Any

from agentrl.envs import registry
from agentrl.envs.miniwob.env import _BEGIN
from agentrl.envs.miniwob.solvers import SOLVERS
from agentrl.envs.miniwob.tasks import TASKS, UNSEEN
from agentrl.envs.random_actions import random_action


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--pages", default=",".join(TASKS))
    parser.add_argument("--players", default="random,expert")
    parser.add_argument("--resets", type=int, default=0)
    asked = parser.parse_args()
    if asked.resets:
        print(json.dumps({name: asyncio.run(resets(name, asked.resets)) for name in BOUNDS}, indent=1))
        return
    rows = {}
    for page in asked.pages.split(","):
        rows[page] = {
            player: played(page, player, asked.episodes)
            for player in asked.players.split(",")
            if player == "random" or page in SOLVERS
        }
        print(page, rows[page], file=sys.stderr, flush=True)
    print(json.dumps(rows, indent=1))


async def resets(name: str, rounds: int) -> dict[str, float]:
    """Medians in ms of a reset and of its bound, taken in turns; the first reset, which starts all, is left out."""
    env: Any = registry.make(name)
    await env.areset(seed=0)
    took: list[float] = []
    bound: list[float] = []
    for seed in range(1, rounds + 1):
        begin = time.perf_counter()
        await env.areset(seed=seed)
        took.append(time.perf_counter() - begin)
        begin = time.perf_counter()
        await BOUNDS[name](env)
        bound.append(time.perf_counter() - begin)
    env.close()
    return {
        "reset_ms": round(1000 * statistics.median(took), 1),
        "mean_ms": round(1000 * statistics.mean(took), 1),
        "bound_ms": round(1000 * statistics.median(bound), 1),
    }


async def new_problem(env: Any) -> None:
    await env.window.evaluate(_BEGIN, 7)


async def navigation(env: Any) -> None:
    window = env.browser if hasattr(env, "browser") else env.window
    await window._run(window._tab.page.goto(window.seen.url))


BOUNDS = {
    "agentrl/MiniWoB-click-test-2-v0": new_problem,
    "agentrl/Site-v0": navigation,
    "agentrl/ShopWeb-v0": navigation,
}


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
