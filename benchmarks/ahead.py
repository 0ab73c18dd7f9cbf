"""Rollouts ahead of the trainer against rollouts and training in turn: ``python benchmarks/ahead.py [--seeds 3]``.

The environment waits: four turns, and a word that the first turn's number decides (the probe ``distractor`` or
``memory``), each step log-normal with a heavy tail. Both arms have the same recipe, the same number of episodes and of
places; only ``rollout.staleness`` differs. Told are the seconds from the first rollout until the success of training
episodes, as a mean of three iterations, first reaches ``--goal``, the seconds of all iterations, and the success on
unseen tasks afterwards with the paired difference and its 95% interval over tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from agentrl import api

HERE = Path(__file__).parent
WINDOW = 3


def start(env: str, folder: Path) -> Path:
    """A policy that knows the words and nothing of what pays."""
    if not (folder / "policy").exists():
        api.collect(env, "random", 64, folder / "demos")
        api.sft(folder / "demos", from_scratch="1m", out=folder / "policy", epochs=8.0, batch=8)
    return folder / "policy"


def train(env: str, policy: Path, seed: int, staleness: int, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    out = folder / f"{seed}-{staleness}"
    api.train(
        env,
        policy=str(policy),
        iterations=args.iterations,
        out=out,
        seed=seed,
        set=(
            f"kwargs={{median: {args.median}}}",
            f"rollout.staleness={staleness}",
            f"rollout.tasks={args.tasks}",
            f"rollout.concurrency={args.places}",
            "rollout.group=8",
            "limits.turn_tokens=12",
            f"optim.lr={args.lr}",
            "loss.max_logprob_gap=0.01",
            "evaluate=false",
            "threads=1",
            *args.set,
        ),
    )
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    clock = np.cumsum([line["seconds"] for line in lines])
    success = np.array([line["success"] for line in lines])
    smooth = [success[max(0, i - WINDOW + 1) : i + 1].mean() for i in range(len(success))]
    reached = next((i for i, s in enumerate(smooth) if i + 1 >= WINDOW and s >= args.goal), None)
    found = api.evaluate(f"{env}:unseen", str(out), 4, kwargs={"median": 0.0})
    by_task: dict[str, list[bool]] = {}
    for t in found.trajectories:
        by_task.setdefault(t.task.key, []).append(t.success)
    return {
        "seed": seed,
        "staleness": staleness,
        "to_goal_s": None if reached is None else float(clock[reached]),
        "iterations_to_goal": None if reached is None else reached + 1,
        "all_s": float(clock[-1]),
        "success": found.overall.success,
        "lag_mean": float(np.mean([line["lag"]["mean"] for line in lines])),
        "lag_max": max(line["lag"]["max"] for line in lines),
        "curve": [round(float(s), 3) for s in success],
        "tasks": {key: float(np.mean(wins)) for key, wins in sorted(by_task.items())},
    }


def compare(rows: list[dict[str, Any]], staleness: int) -> dict[str, Any]:
    """Speed and final success of the arms, paired by seed and task."""
    arms: dict[int, dict[int, dict[str, Any]]] = {}
    for row in rows:
        arms.setdefault(row["staleness"], {})[row["seed"]] = row
    pairs = [(arms[0][seed], arms[staleness][seed]) for seed in arms[0]]
    reached = [a["to_goal_s"] / b["to_goal_s"] for a, b in pairs if a["to_goal_s"] and b["to_goal_s"]]
    difference = np.array([[b["tasks"][k] - a["tasks"][k] for k in a["tasks"]] for a, b in pairs]).mean(0)
    half = 1.96 * difference.std(ddof=1) / np.sqrt(len(difference))
    return {
        "seeds_that_reached_the_goal": len(reached),
        "speedup_to_goal": reached,
        "speedup_to_goal_mean": float(np.exp(np.mean(np.log(reached)))) if reached else None,
        "speedup_all": [a["all_s"] / b["all_s"] for a, b in pairs],
        "success_difference": float(difference.mean()),
        "interval": [float(difference.mean() - half), float(difference.mean() + half)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probe", default="memory", choices=("memory", "distractor", "delay"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--policy", type=Path, default=None, help="where both start; none: one made from random play")
    parser.add_argument("--staleness", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=36)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--places", type=int, default=64, help="episodes at once")
    parser.add_argument("--median", type=float, default=0.1, help="seconds of the median step")
    parser.add_argument("--goal", type=float, default=0.8)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the recipe, for both arms")
    parser.add_argument("--out", type=Path, default=None, help="where the figures go as JSON")
    args = parser.parse_args()
    env = f"{HERE / 'waiting.py'}:Waiting-{args.probe}-v0"
    rows = []
    with tempfile.TemporaryDirectory() as name:
        policy = args.policy or start(f"agentrl/Probe-{args.probe}-v0", Path(name))
        for seed in range(args.first_seed, args.first_seed + args.seeds):
            for staleness in (0, args.staleness):
                rows.append(train(env, policy, seed, staleness, args, Path(name)))
                print({k: v for k, v in rows[-1].items() if k != "tasks"}, file=sys.stderr)
    report = {"arguments": {k: str(v) for k, v in vars(args).items()}, **compare(rows, args.staleness), "runs": rows}
    text = json.dumps(report, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(json.dumps({k: v for k, v in report.items() if k != "runs"}, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
