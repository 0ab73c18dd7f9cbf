"""How long the viewer takes to open a long group, and how smoothly it scrolls, in real Chromium.

    python benchmarks/viewer.py [--turns 3000] [--episodes 8]

Prints JSON: seconds from opening a page's address until its turns are drawn, and the share of frames later than 1/30 s
while a whole episode is scrolled through. ``served`` asks the live server, ``file`` an exported page.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from agentrl import store
from agentrl.trainers import credit
from agentrl.trainers.credit import TurnTable, ledger
from agentrl.types import Group, Task, Trajectory, Turn
from agentrl.viewer.page import export
from agentrl.viewer.server import Viewer

SCROLL = """async () => {
  const late = [], height = document.body.scrollHeight; let last = performance.now(), y = 0, frames = 0;
  while (y < height && frames < 600) {
    y += 240; scrollTo(0, y);
    await new Promise(requestAnimationFrame);
    const now = performance.now(); frames++; if (now - last > 1000 / 30) late.push(now - last); last = now;
  }
  return {frames, late: late.length, worst_ms: Math.max(0, ...late)};
}"""


def run_folder(at: Path, turns: int, episodes: int) -> Path:
    rng = np.random.default_rng(0)
    words = ["you", "arrive", "at", "the", "shelf", "and", "see", "a", "mug", "two", "candles", "beside", "a", "lamp"]

    def turn(i: int) -> Turn:
        n = int(rng.integers(15, 60))
        return Turn(
            f"[{i}] " + " ".join(rng.choice(words, 40)),
            state_key=f"s{int(rng.integers(0, 200))}",
            prompt_ids=np.arange(30 + i),
            completion_ids=rng.integers(5, 900, n),
            logprobs=-rng.random(n),
            entropies=rng.random(n),
            text=" ".join(rng.choice(words, n)),
            action=" ".join(rng.choice(words, 4)),
            versions=[(0, 0)],
        )

    played = []
    for e in range(episodes):
        t = Trajectory(f"000000-000-{e:03d}", Task("E-v0", 0), 0, [turn(i) for i in range(turns // episodes)])
        t.success = e % 2 == 0
        t.turns[-1].rewards = {"task": float(t.success)}
        played.append(t)
    groups = [Group(Task("E-v0", 0), "000000-000", played)]
    store.write(at / "trajectories", "000000", groups, iteration=0)
    given = credit.assign(TurnTable.from_groups(groups), [], ["grpo", "gigpo-step"])
    ledger.write(at / "credit", "000000", given)
    (at / "recipe.yaml").write_text("env: E-v0\npolicy: {path: small}\n")
    return at


def measure(browser: Any, base: str) -> dict[str, Any]:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    found: dict[str, Any] = {}
    for name, there, ready in (
        ("group_s", "#/group/0/000000-000", ".lanes canvas"),
        ("episode_s", "#/episode/0/000000-000/000000-000-000", ".turn .reply"),
    ):
        page.goto("about:blank")
        begin = time.perf_counter()
        page.goto(base + there)
        page.wait_for_selector(ready)
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found[name] = round(time.perf_counter() - begin, 2)
    found["scroll"] = page.evaluate(SCROLL)
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=3000)
    parser.add_argument("--episodes", type=int, default=8)
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        run = run_folder(Path(folder) / "run", options.turns, options.episodes)
        export([run], Path(folder) / "run.html")
        viewer = Viewer([run])
        threading.Thread(target=viewer.serve_forever, daemon=True).start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        found = {
            "turns": options.turns,
            "episodes": options.episodes,
            "file_mib": round((Path(folder) / "run.html").stat().st_size / 2**20, 1),
            "file": measure(browser, f"file://{folder}/run.html"),
            "served": measure(browser, viewer.url),
        }
        browser.close()
        viewer.shutdown()
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
