"""A grid of training runs, one single-threaded process a core, and their learning curves with intervals.

    python benchmarks/sweep.py household-tiny --seeds 8 --out sweeps/credit \
        --arm grpo 'credit=[{grpo: {statistics: rows}}]' --arm gigpo 'credit=[{grpo: {statistics: rows}}, gigpo-step]'

Seeds are paired: seed k of every arm sees the same tasks in the same order. A run that is there already is not run
again, so a sweep that was stopped goes on where it was. The x axis is episodes. Writes a JSON file a run
(``ARM-seedK/summary.json`` and ``metrics.jsonl``), ``sweep.json`` with the comparison, and ``curves.png``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

T_95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 11: 2.201, 15: 2.131}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--arm", nargs="+", action="append", required=True, metavar=("NAME", "KEY=VALUE"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="change a key in every arm")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    grid = [(arm[0], seed, [*args.set, *arm[1:]]) for seed, arm in itertools.product(seeds, args.arm)]
    play(args.recipe, grid, args.out, args.jobs)
    found = compare([arm[0] for arm in args.arm], list(seeds), args.out)
    (args.out / "sweep.json").write_text(json.dumps({"command": sys.argv, **found}, indent=1) + "\n")
    draw([arm[0] for arm in args.arm], list(seeds), args.out)
    show(found)


def play(recipe: str, grid: list[tuple[str, int, list[str]]], out: Path, jobs: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    waiting, running = list(grid), dict[subprocess.Popen[bytes], Path]()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    while waiting or running:
        while waiting and len(running) < jobs:
            arm, seed, changes = waiting.pop(0)
            folder = out / f"{arm}-seed{seed}"
            if (folder / "summary.json").exists():
                continue
            shutil.rmtree(folder, ignore_errors=True)
            command = [sys.executable, "-m", "agentrl", "train", recipe, "--seed", str(seed), "-o", str(folder)]
            for change in [*changes, "threads=1"]:
                command += ["--set", change]
            log = (out / f"{arm}-seed{seed}.log").open("wb")
            running[subprocess.Popen(command, stdout=log, stderr=log, env=environment)] = folder
            print(f"started {folder}", flush=True)
        time.sleep(0.2)
        for process in [p for p in running if p.poll() is not None]:
            folder = running.pop(process)
            ended = "finished" if process.returncode == 0 else f"failed with {process.returncode}, see {folder}.log"
            print(f"{folder} {ended} ({len(waiting)} waiting)", flush=True)


def compare(arms: list[str], seeds: list[int], out: Path) -> dict[str, Any]:
    """Per arm: success before and after, area under the training curve; per pair of arms: paired differences."""
    runs: dict[str, dict[int, dict[str, float]]] = {arm: {} for arm in arms}
    for arm, seed in itertools.product(arms, seeds):
        folder = out / f"{arm}-seed{seed}"
        if (folder / "summary.json").exists():
            summary = json.loads((folder / "summary.json").read_text())
            curve = [line["success"] for line in metrics(folder)]
            runs[arm][seed] = {
                "before": summary["before"]["success"] if summary["before"] else math.nan,
                "after": summary["after"]["success"] if summary["after"] else math.nan,
                "area": sum(curve) / len(curve),
                "wall_s": summary["wall_s"],
                "episodes": metrics(folder)[-1]["episodes"],
            }
    means = {
        arm: {key: interval([run[key] for run in found.values()]) for key in ("before", "after", "area", "wall_s")}
        for arm, found in runs.items()
        if found
    }
    pairs = {}
    for a, b in itertools.combinations(arms, 2):
        both = sorted(set(runs[a]) & set(runs[b]))
        if both:
            pairs[f"{b} - {a}"] = {
                key: interval([runs[b][s][key] - runs[a][s][key] for s in both]) for key in ("after", "area")
            } | {"same_sign": sum(runs[b][s]["area"] > runs[a][s]["area"] for s in both), "seeds": len(both)}
    return {"runs": runs, "means": means, "paired": pairs}


def interval(values: list[float]) -> dict[str, float]:
    """Mean and 95% interval over seeds (Student's t)."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return {"mean": mean, "low": math.nan, "high": math.nan, "n": n}
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    half = T_95.get(n - 1, 2.0) * deviation / math.sqrt(n)
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": n}


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def draw(arms: list[str], seeds: list[int], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4))
    for index, arm in enumerate(arms):
        curves = [metrics(out / f"{arm}-seed{s}") for s in seeds if (out / f"{arm}-seed{s}" / "summary.json").exists()]
        if not curves:
            continue
        length = min(map(len, curves))
        points = [interval([100 * curve[i]["success"] for curve in curves]) for i in range(length)]
        x = [curves[0][i]["episodes"] for i in range(length)]
        axes.plot(x, [p["mean"] for p in points], color=f"C{index}", label=f"{arm} ({len(curves)} seeds)")
        axes.fill_between(x, [p["low"] for p in points], [p["high"] for p in points], color=f"C{index}", alpha=0.2)
        if "continuations" in curves[0][0]:  # what was played to give credit, counted too
            more = [sum(curve[i]["continuations"]["episodes"] for curve in curves) / len(curves) for i in range(length)]
            all_played = [a + b for a, b in zip(x, itertools.accumulate(more), strict=True)]
            label = f"{arm}, continuations counted"
            axes.plot(all_played, [p["mean"] for p in points], color=f"C{index}", linestyle="--", label=label)
            axes.set_xscale("log")
    axes.set(xlabel="training episodes", ylabel="success of training episodes (%)", ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize="small")
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=120)


def show(found: dict[str, Any]) -> None:
    def text(p: dict[str, float]) -> str:
        return f"{100 * p['mean']:5.1f} [{100 * p['low']:5.1f}, {100 * p['high']:5.1f}]"

    for arm, mean in found["means"].items():
        print(f"{arm:16s} before {text(mean['before'])}  after {text(mean['after'])}  area {text(mean['area'])}")
    for pair, difference in found["paired"].items():
        signs = f"{difference['same_sign']}/{difference['seeds']} seeds positive by area"
        print(f"{pair:16s} after {text(difference['after'])}  area {text(difference['area'])}  {signs}")


if __name__ == "__main__":
    main()
