"""The store as text and as a web site in Chromium, side by side: do they tell and pay the same, and how fast?

    python benchmarks/shop_site.py [--walks 500]

Prints JSON. Each walk takes the same random and expert actions in both; ``differences`` counts pages that read
differently, and rewards, ends and states that are not equal.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from typing import Any

from agentrl.envs import registry


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--walks", type=int, default=500)
    asked = parser.parse_args()
    text: Any = registry.make("agentrl/Shop-v0")
    web: Any = registry.make("agentrl/ShopWeb-v0")
    rng = random.Random(1)
    differences = steps = purchases = 0
    resets = seconds = 0.0
    for walk in range(asked.walks):
        task = {"task": f"train-{walk:05d}"}
        text.reset(options=task)
        begin = time.perf_counter()
        web.reset(options=task)
        resets += time.perf_counter() - begin
        over = False
        for _ in range(8):
            differences += web.facts() != text.state_key()
            action = text.expert() if rng.random() < 0.5 else rng.choice(text.admissible_actions())
            _, reward, over, _, _ = text.step(action)
            call = web.call_of(action)
            begin = time.perf_counter()
            _, other, ended, _, _ = web.step(call)
            seconds += time.perf_counter() - begin
            steps += 1
            differences += (other, ended, web.state) != (reward, over, text._state)
            if over:
                purchases += 1
                break
    web.close()
    print(json.dumps({
        "walks": asked.walks,
        "steps": steps,
        "purchases": purchases,
        "differences": differences,
        "web_reset_ms": round(1000 * resets / asked.walks),
        "web_step_ms": round(1000 * seconds / steps),
    }, indent=2))  # fmt: skip


if __name__ == "__main__":
    main()
