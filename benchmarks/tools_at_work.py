"""OTC and ARPO at work: what a price on tool calls saves, and what branching does with the same number of calls.

    python benchmarks/tools_at_work.py calc --out /tmp/at-work       # about 10 minutes on one core
    python benchmarks/tools_at_work.py search --out /tmp/at-work

A small policy is made by ``agentrl collect`` (of demonstrators who call tools more often than they need, ``eager.py``)
and ``agentrl sft --from-scratch``, then trained from the same start and on the same tasks in three ways: plain GRPO,
with the transform ``otc``, and with ARPO branching; nothing else differs. ``equal`` is plain GRPO over fewer rounds:
as many as it takes to make the tool calls that ARPO made in all. All these policies play the same unseen tasks. What is
there already is not made again. Writes ``WORLD.json`` and ``WORLD.png`` and prints two tables.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from beginnings import agentrl, sets, start

from agentrl import store
from agentrl.evaluation.statistics import bootstrap, wilson
from agentrl.types import Trajectory

EAGER = Path(__file__).with_name("eager.py")
WORLDS: dict[str, dict[str, Any]] = {
    "calc": {"demos": f"{EAGER}:EagerCalc-v0", "env": "agentrl/Calc-v0", "episodes": [11200], "batch": 16},
    "search": {
        "demos": f"{EAGER}:EagerHops-v0",
        "env": f"{EAGER}:FewHops-v0",
        "episodes": [10800] * 5,
        "batch": 8,
    },
}
CLONING = ["epochs=1", "bf16=true", "batcher=trie"]
COMMON = [
    "rollout.deterministic=true", "rollout.tasks=8", "rollout.group=8", "limits.turn_tokens=48", "credit=[grpo]",
    "loss.aggregate=token", "loss.max_logprob_gap=0.001", "optim.lr=5e-4", "optim.warmup=4", "optim.anneal=true",
    "optim.minibatches=2", "evaluate=false", "checkpoint_every=1000", "threads=1",
]  # fmt: skip
ARMS = {"plain": [], "otc": ["rewards=[otc]"], "arpo": ["rollout.brancher=arpo"], "equal": []}
PAIRS = (("start", "plain"), ("otc", "plain"), ("arpo", "plain"), ("arpo", "equal"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--iterations", type=int, default=30)
    parser.add_argument("--tasks", type=int, default=256, help="unseen tasks that are played before and after")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="make these policies only: start, plain, otc, arpo, equal (with commas)")
    args = parser.parse_args()
    world, out = WORLDS[args.world], args.out / args.world
    out.mkdir(parents=True, exist_ok=True)
    settings = [*CLONING, f"batch={world['batch']}"]
    start(out, [world["demos"]], world["episodes"], ["--agent", "format=tags"], settings, args.seed)
    for arm in args.only.split(",") if args.only else ["start", *ARMS]:
        if arm in ARMS:
            train(world, out, arm, iterations_of(arm, out, args.iterations), args.seed)
        evaluate(world, out, arm, args.tasks, args.seed)
        found = {arm: measured(out, arm) for arm in ("start", *ARMS) if (out / f"{arm}-eval" / "report.json").exists()}
        pairs = {f"{a} less {b}": paired(out, a, b) for a, b in PAIRS if {a, b} <= found.keys()}
        result = {"command": sys.argv, "policies": found, "pairs": pairs}
        (args.out / f"{args.world}.json").write_text(json.dumps(result, indent=1) + "\n")
    show(found, pairs)
    draw(found, args.out / f"{args.world}.png")


def train(world: dict[str, Any], out: Path, arm: str, iterations: int, seed: int) -> None:
    if (out / arm / "summary.json").exists():
        return
    changes = sets([*COMMON, *ARMS[arm]])
    if (out / arm / "recipe.yaml").exists():
        agentrl("train", "--resume", out / arm)
    else:
        agentrl("train", world["env"], "--policy", out / "start", "-o", out / arm, "--seed", seed, *changes,
                "--set", f"iterations={iterations}")  # fmt: skip


def iterations_of(arm: str, out: Path, iterations: int) -> int:
    if arm != "equal":
        return iterations
    spent = training(out / "arpo")[-1]["calls"]
    return 1 + sum(point["calls"] < spent for point in training(out / "plain"))


def evaluate(world: dict[str, Any], out: Path, arm: str, tasks: int, seed: int) -> None:
    agentrl("eval", f"{world['env']}:unseen", "--policy", out / arm, "--first", tasks, "--seed", seed,
            "-o", out / f"{arm}-eval")  # fmt: skip


def measured(out: Path, arm: str) -> dict[str, Any]:
    """Of the same unseen tasks: success, calls, and successes a call; of training: calls made and success reached."""
    played = [t for group in store.read(out / f"{arm}-eval") for t in group]
    won = [t for t in played if t.success]
    found: dict[str, Any] = {
        "episodes": len(played),
        "success": len(won) / len(played),
        "success_interval": wilson(len(won), len(played)),
        "calls": statistics.mean(map(calls, played)),
        "calls_at_success": statistics.mean(map(calls, won)) if won else None,
        "successes_a_call": len(won) / max(1, sum(map(calls, played))),
        "no_call_share": statistics.mean(calls(t) == 0 for t in won) if won else None,
    }
    if (out / arm / "trajectories").exists():
        found["training"] = training(out / arm)
    return found


def paired(out: Path, arm: str, base: str) -> dict[str, Any]:
    """An arm less another, task by task, with 95% bootstrap intervals; calls where both succeed."""
    a, b = ({t.task.id: t for group in store.read(out / f"{name}-eval") for t in group} for name in (arm, base))
    both = [task for task in b if a[task].success and b[task].success]
    gain = [float(a[task].success) - float(b[task].success) for task in b]
    more = [calls(a[task]) - calls(b[task]) for task in both]
    found: dict[str, Any] = {"success": statistics.mean(gain), "success_interval": bootstrap(gain), "both": len(both)}
    if len(both) > 1:
        found |= {"calls": statistics.mean(more), "calls_interval": bootstrap(more)}
        found["calls_of_base"] = statistics.mean(calls(b[task]) for task in both)
    return found


def training(run: Path) -> list[dict[str, float]]:
    """By iteration: tool calls made so far (those that a branch shares with its parent count once), and success."""
    curve: list[dict[str, float]] = []
    made = 0
    for file in sorted((run / "trajectories").glob("*.parquet")):
        played = [t for group in store.read(file) for t in group]
        made += sum(sum(len(turn.tool_calls) for turn in t.turns[t.shared :]) for t in played)
        whole = [t for t in played if t.whole]
        curve.append({"calls": made, "success": statistics.mean(t.success for t in whole), "episodes": len(played)})
    return curve


def calls(trajectory: Trajectory) -> int:
    return sum(len(turn.tool_calls) for turn in trajectory.turns)


def show(found: dict[str, Any], pairs: dict[str, Any]) -> None:
    print("policy    success   calls  at success  successes a call  calls in training")
    for arm, m in found.items():
        at = f"{m['calls_at_success']:.2f}" if m["calls_at_success"] is not None else "-"
        made = f"{m['training'][-1]['calls']:.0f}" if m.get("training") else "-"
        print(f"{arm:8} {m['success']:8.1%} {m['calls']:7.2f} {at:>11} {m['successes_a_call']:17.2f} {made:>18}")
    for pair, m in pairs.items():
        low, high = m["success_interval"]
        print(f"{pair}: success {m['success']:+.1%} [{low:+.1%}, {high:+.1%}]", end="")
        if "calls" in m:
            low, high = m["calls_interval"]
            share = m["calls"] / m["calls_of_base"] if m["calls_of_base"] else 0.0
            print(f"; calls {m['calls']:+.2f} [{low:+.2f}, {high:+.2f}] ({share:+.1%}) on {m['both']} tasks", end="")
        print()


def draw(found: dict[str, Any], path: Path) -> None:
    """Success against calls (left; up and to the left is better), and success in training against calls made."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for i, (arm, m) in enumerate(found.items()):
        left.plot(m["calls"], 100 * m["success"], "o", color=f"C{i}", label=arm)
        if curve := m.get("training"):
            window = [curve[max(0, k - 4) : k + 1] for k in range(len(curve))]
            mean = [100 * statistics.mean(p["success"] for p in part) for part in window]
            right.plot([p["calls"] for p in curve], mean, color=f"C{i}", label=arm)
    left.set(xlabel="tool calls an episode", ylabel="success on unseen tasks (%)", ylim=(0, 100))
    left.set_xlim(left=0)
    right.set(xlabel="tool calls made in training", ylabel="success in training, mean of 5 (%)", ylim=(0, 100))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
