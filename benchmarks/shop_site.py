"""The store as text and as a web site in Chromium, side by side: do they tell and pay the same, and how fast?

    python benchmarks/shop_site.py [--walks 500] [--first 0]

Prints JSON. Each walk takes the same random and expert actions in both; ``differences`` counts pages that read
differently, and rewards, ends and states that are not equal. A walk is drawn from its number, so 500 walks may be
taken in pieces: ``--walks 100 --first 100`` is the second. Times are medians.
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--walks", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="number of the first walk")
    asked = parser.parse_args()
    text: Any = registry.make("agentrl/Shop-v0")
    web: Any = registry.make("agentrl/ShopWeb-v0")
    differences = purchases = 0
    resets: list[float] = []
    steps: list[float] = []
    for walk in range(asked.first, asked.first + asked.walks):
        rng = random.Random(f"walk {walk}")
        task = {"task": f"train-{walk:05d}"}
        text.reset(options=task)
        begin = time.perf_counter()
        web.reset(options=task)
        resets.append(time.perf_counter() - begin)
        over = False
        for _ in range(8):
            if web.facts() != text.state_key():
                differences += 1
                print(f"walk {walk}:\n{web.facts()}\n--- as text:\n{text.state_key()}", file=sys.stderr)
            action = text.expert() if rng.random() < 0.5 else rng.choice(text.admissible_actions())
            _, reward, over, _, _ = text.step(action)
            call = web.call_of(action)
            begin = time.perf_counter()
            _, other, ended, _, _ = web.step(call)
            steps.append(time.perf_counter() - begin)
            if (other, ended, web.state) != (reward, over, text._state):
                differences += 1
                print(f"walk {walk}, {action}: {other, ended, web.state}", file=sys.stderr)
            if over:
                purchases += 1
                break
    web.close()
    print(json.dumps({
        "walks": asked.walks,
        "steps": len(steps),
        "purchases": purchases,
        "differences": differences,
        "web_reset_ms": round(1000 * statistics.median(resets)),
        "web_step_ms": round(1000 * statistics.median(steps)),
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
