"""Whether small policies learn in a shop, on web pages and at a desktop: from a clone that is fluent but mediocre.

    python benchmarks/web_gui.py shop --seeds 4 --out /tmp/web-gui       # its start takes 25 minutes
    python benchmarks/web_gui.py miniwob --seeds 2 --out /tmp/web-gui
    python benchmarks/web_gui.py desktop --out /tmp/web-gui

The start is made by ``agentrl collect`` (of the expert, who often acts at random) and ``agentrl sft --from-scratch``;
runs and comparison are those of ``sweep.py``: paired seeds, equal episodes. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import sweep
import yaml
from beginnings import start

PAGES = ("click-test-2", "click-button", "click-tab", "click-dialog-2", "focus-text-2", "click-option")
FEW = Path(__file__).with_name("few_tools.py")
GRPO, GIGPO = "{grpo: {std: false}}", "{gigpo-step: {weight: 1.0, gamma: 0.95, std: false}}"
BOTH = [["grpo", f"credit=[{GRPO}]"], ["gigpo", f"credit=[{GRPO}, {GIGPO}]"]]
NUMBER = r"(?<=\[)(?!potato)(?:[bdfgklmnprstvz][aeiou]){3}(?=\])"  # of a product; potato is a flavour
CLONING = ["muon=0.01", "noise_from=0.85", "bf16=true"]
COMMON = [
    "rewards=[{invalid-penalty: {coef: 0.1}}]", "loss.aggregate=sequence", "loss.max_logprob_gap=0.01",
    "optim.warmup=3", "optim.minibatches=2", "optim.anneal=true",
]  # fmt: skip
WORLDS: dict[str, dict[str, Any]] = {
    "shop": {
        "envs": ["agentrl/Shop-v0"], "episodes": [12000], "noise": "0-0.2",
        "agent": ["format=text", "context=0"], "window": 1024,
        "size": "1m-mha", "model": ["--vocabulary", 16384, "--tokens", "words"],
        "sft": ["epochs=1", "batch=12", "lr=5e-3", "muon=0.004", "observation_weight=0", "noise_weight=0",
                f"exchange={NUMBER}"],
        "split": "seen", "unseen": 200, "arms": BOTH,
        "train": ["rewards=[]", "rollout.tasks=16", "rollout.group=8", "iterations=24", "optim.lr=2e-4",
                  "optim.muon=0.002", "optim.anneal=false", "limits.turn_tokens=32", "optim.positions=4096"],
    },
    "miniwob": {
        "envs": [f"{FEW}:Few-{page}-v0" for page in PAGES], "episodes": [100], "noise": "0.2-0.5",
        "agent": ["format=tags"], "window": 1024, "sft": ["epochs=4", "batch=8", "noise_weight=2"], "unseen": 20,
        "arms": BOTH[1:],
        "train": ["rollout.tasks=6", "rollout.group=8", "iterations=24", "optim.lr=5e-4", "limits.turn_tokens=32",
                  "rollout.concurrency=4"],
    },
    "desktop": {
        "envs": [f"{FEW}:Few-desktop-v0"], "episodes": [160], "noise": "0.2-0.5",
        "agent": ["format=tags"], "window": 2048, "sft": ["epochs=6", "batch=8", "noise_weight=2"], "unseen": 12,
        "arms": BOTH[1:],
        "train": ["rollout.tasks=2", "rollout.group=8", "iterations=16", "optim.lr=5e-4", "limits.turn_tokens=32",
                  "rollout.concurrency=8"],
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="training runs at once")
    parser.add_argument("--set", action="append", default=[], help="change a key in every arm")
    args = parser.parse_args()
    world, out = WORLDS[args.world], args.out / args.world
    out.mkdir(parents=True, exist_ok=True)
    agent = [word for setting in world["agent"] for word in ("--agent", setting)]
    model = ["--window", world["window"], *agent, *world.get("model", [])]
    played = [*world["envs"], "--noise", world["noise"]]
    start(out, played, world["episodes"], model, [*CLONING, *world["sft"]], size=world.get("size", "1m"))
    recipe, seeds, arms = recipe_of(world, out), range(args.seeds), [arm[0] for arm in world["arms"]]
    grid = [
        (arm[0], seed, [*COMMON, *world["train"], *args.set, *arm[1:]])
        for seed, arm in itertools.product(seeds, world["arms"])
    ]
    sweep.play(str(recipe), grid, out, args.jobs)
    found = sweep.compare(arms, list(seeds), out)
    (args.out / f"{args.world}.json").write_text(json.dumps({"command": sys.argv, **found}, indent=1) + "\n")
    sweep.draw(arms, list(seeds), out)
    sweep.show(found)


def recipe_of(world: dict[str, Any], out: Path) -> Path:
    """The environments with equal weights, the start, and a suite of tasks of each that are not trained on."""
    several = len(world["envs"]) > 1
    parts = [{"env": env, "split": world.get("split", "unseen"), "first": world["unseen"]} for env in world["envs"]]
    (out / "held-out.yaml").write_text(yaml.safe_dump({"parts": parts, "turn_tokens": 32}))
    envs = {env: 1 for env in world["envs"]} if several else world["envs"][0]
    recipe = {"env": envs, "policy": {"path": str(out / "start")}, "suite": str(out / "held-out.yaml")}
    (out / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return out / "recipe.yaml"


if __name__ == "__main__":
    main()
