"""Episodes that go on by themselves against rounds: web pages and desktops, with a player who thinks.

    python benchmarks/decoupled.py miniwob --episodes 48 --places 8
    python benchmarks/decoupled.py desktop --episodes 16 --places 4

The environments are real; the thinking is simulated. A turn's think time is one of the latencies below, which keep the
shape that was measured (6,400 turns of SmolLM2-135M in `household-unseen`, 64 at once, two busy cores) around a median
of ``--median`` seconds; then the expert acts. The rounds are those of ``rollout.py``'s lock-step loop: all think, the
slowest is waited for, all act, the slowest is waited for. Only the barrier differs. ``busy`` is the share of the
places' time in which an environment was at work.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import rollout
import waiting

import agentrl as ar
from agentrl.agents.chat import AgentConfig
from agentrl.envs import registry
from agentrl.envs.core import ResetResult, StepResult
from agentrl.envs.desktop.env import Desktop
from agentrl.envs.desktop.tasks import splits
from agentrl.envs.miniwob.env import MiniWoB
from agentrl.policies.base import ScriptedTurn
from agentrl.types import Action

assert waiting
# The quantiles 2.5%, 7.5%, ... 97.5%, over the median.
LATENCIES = (
    0.13, 0.21, 0.30, 0.39, 0.49, 0.58, 0.68, 0.77, 0.85, 0.96, 1.07, 1.12, 1.25,
    1.35, 1.41, 1.57, 1.65, 1.74, 1.81, 2.09,
)  # fmt: skip
WORLDS = {"miniwob": "Timed-miniwob-v0", "desktop": "Timed-desktop-v0"}
worked: list[float] = []  # seconds of every reset and step


class Timed:
    """Mixed into an environment: notes how long it works."""

    async def areset(self, **options: Any) -> ResetResult:
        begin = time.perf_counter()
        try:
            return await super().areset(**options)  # type: ignore[misc]
        finally:
            worked.append(time.perf_counter() - begin)

    async def astep(self, action: Action) -> StepResult:
        begin = time.perf_counter()
        try:
            return await super().astep(action)  # type: ignore[misc]
        finally:
            worked.append(time.perf_counter() - begin)


@ar.register("Timed-miniwob-v0", splits={"train": range(10_000)}, max_turns=10)
class TimedMiniWoB(Timed, MiniWoB):
    def __init__(self) -> None:
        super().__init__("click-option")


@ar.register("Timed-desktop-v0", splits={"train": splits("files-rename+note-append")["train"]}, max_turns=20)
class TimedDesktop(Timed, Desktop):
    pass


class Thinker:
    """The expert, after a think time fixed by episode and turn."""

    name = "thinker"

    def __init__(self, median: float) -> None:
        self.median = median

    async def act(self, turn: ScriptedTurn) -> Action:
        share = random.Random(f"think {turn.seed} {turn.turn}").choice(LATENCIES)
        await asyncio.sleep(self.median * share)
        action: Action = turn.env.expert()  # type: ignore[attr-defined]
        return action


def measure(world: str, episodes: int, places: int, median: float) -> dict[str, Any]:
    policy, config = Thinker(median), AgentConfig()
    jobs = rollout.make_jobs(WORLDS[world], episodes, {})
    warm(world, places)
    found: dict[str, Any] = {"world": world, "episodes": episodes, "places": places, "median_s": median}
    for loop in ("rounds", "engine"):
        worked.clear()
        begin = time.perf_counter()
        if loop == "engine":
            rollout.engine(jobs, policy, config, places)
        else:
            asyncio.run(rollout.lock_step(jobs, policy, config, places))
        took = time.perf_counter() - begin
        found[loop] = {
            "seconds": took, "episodes_per_s": episodes / took, "busy": sum(worked) / (places * took),
            "steps": len(worked) - episodes,
        }  # fmt: skip
    found["faster"] = found["rounds"]["seconds"] / found["engine"]["seconds"]
    return found | {"load": os.getloadavg()[0]}


def warm(world: str, places: int) -> None:
    """What is started once (a browser, pages in the file cache) is no part of either."""
    env = registry.make(WORLDS[world])
    env.reset(seed=0)
    env.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--episodes", type=int, default=48)
    parser.add_argument("--places", type=int, default=8, help="episodes at once")
    parser.add_argument("--median", type=float, default=1.0, help="seconds of the median think time")
    parser.add_argument("--out", type=Path, default=None, help="where the figures go as JSON")
    args = parser.parse_args()
    text = json.dumps(measure(args.world, args.episodes, args.places, args.median), indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
