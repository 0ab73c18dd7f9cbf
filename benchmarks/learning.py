"""What each way of learning from episodes makes of ``small`` on the tiny household: the commands a user would type.

    python benchmarks/learning.py --seeds 3 --out sweeps/learning

Before and after are success on the suite household-unseen (256 unseen tasks, one attempt, temperature 1). Episodes are
of the train split: those that were played, the teacher's of distillation included. Every command runs on one thread.
A result that is there already is not made again. Writes ``SEED/ARM.json`` and ``learning.json``, and prints a table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TINY = ["agentrl/Household-v0", "--set", "size=tiny"]
T_95 = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 7: 2.365}


class Ways:
    """Each method makes a policy from ``small`` and says where it is, and how many episodes that took."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed

    def run(self, *args: str) -> str:
        command = [sys.executable, "-m", "agentrl", *args]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
        return done.stdout

    def collect(self, name: str, n: int, *args: str) -> Path:
        where = self.folder / name
        if not where.exists():
            self.run("collect", *TINY, "-n", str(n), "--seed", str(self.seed), *args, "-o", str(where))
        return where

    def made(self, command: str, data: Path, name: str, *settings: str) -> Path:
        out = self.folder / name
        changes = [word for setting in settings for word in ("--set", setting)]
        self.run(command, str(data), "--policy", "small", "--seed", str(self.seed), *changes, "-o", str(out))
        return out

    def trained(self, name: str, *settings: str) -> Path:
        out = self.folder / name
        changes = [word for setting in ["evaluate=false", "threads=1", *settings] for word in ("--set", setting)]
        if not (out / "summary.json").exists():
            self.run("train", "household-tiny", "--seed", str(self.seed), *changes, "-o", str(out))
        return out

    def rejection(self) -> tuple[Path, int]:
        own = self.collect("own", 1600, "--policy", "small", "-k", "8", "--keep", "successes", "--cap", "2")
        return self.made("sft", own, "rft", "lr=3e-4", "epochs=2"), 1600

    def dagger(self) -> tuple[Path, int]:
        labelled = self.collect("labelled", 400, "--policy", "small", "--labels")
        return self.made("sft", labelled, "dagger", "lr=3e-4", "epochs=2", "batch=4", "batcher=trie"), 400

    def dpo(self) -> tuple[Path, int]:
        tries = self.collect("tries", 800, "--policy", "small", "-k", "8")
        return self.made("dpo", tries, "preferred", "beta=1"), 800

    def chord(self) -> tuple[Path, int]:
        demos = self.collect("demos", 200, "--policy", "expert")
        run = self.trained("chord", f"demos={demos}", "loss.policy={chord: {warmup: 20, decay: 40}}")
        return run, 960 + 200

    def distillation(self) -> tuple[Path, int]:
        teacher = self.folder / "dagger"
        if not teacher.exists():
            self.dagger()
        nothing = "credit=[{grpo: {weight: 0.0}}]"
        run = self.trained("distilled", f"loss.teacher={teacher}", "loss.terms=[{distil: {weight: 1.0}}]", nothing)
        return run, 960 + 400

    def grpo(self) -> tuple[Path, int]:
        return self.trained("grpo", "credit=[{grpo: {std: false, statistics: rows}}]"), 960


WAYS: dict[str, Callable[[Ways], tuple[Path, int]]] = {
    "rejection sampling": Ways.rejection,
    "DAgger": Ways.dagger,
    "DPO": Ways.dpo,
    "CHORD": Ways.chord,
    "on-policy distillation of DAgger's": Ways.distillation,
    "GRPO, beside": Ways.grpo,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=sorted(WAYS), help="may be repeated; default: all")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(args.seeds):
        for name in args.only or WAYS:
            found.setdefault(name, []).append(measured(Ways(args.out / str(seed), seed), name))
    before = scored(Ways(args.out, 0), "small", args.out / "before.json")
    result = {"command": sys.argv, "before": before, **found}
    (args.out / "learning.json").write_text(json.dumps(result, indent=1) + "\n")
    print(f"small: {100 * before['success']:.1f}%")
    for name, rows in found.items():
        after = [100 * row["success"] for row in rows]
        seconds = statistics.mean(row["seconds"] for row in rows)
        spread = ""
        if len(after) > 1:
            half = T_95[len(after) - 1] * statistics.stdev(after) / len(after) ** 0.5
            spread = f" [{statistics.mean(after) - half:.1f}, {statistics.mean(after) + half:.1f}]"
        mean = statistics.mean(after)
        print(f"{name}: {mean:.1f}%{spread} of {after}, {rows[0]['played']} episodes, {seconds:.0f} s")


def measured(ways: Ways, name: str) -> dict[str, Any]:
    ways.folder.mkdir(parents=True, exist_ok=True)
    kept = ways.folder / f"{name.replace(' ', '-')}.json"
    if kept.exists():
        return json.loads(kept.read_text())  # type: ignore[no-any-return]
    begin = time.perf_counter()
    policy, played = WAYS[name](ways)
    seconds = time.perf_counter() - begin
    after = scored(ways, str(policy), ways.folder / f"{kept.stem}-after.json")
    made = after | {"seconds": seconds, "played": played, "seed": ways.seed}
    kept.write_text(json.dumps(made, indent=1) + "\n")
    print(f"seed {ways.seed}, {name}: {100 * made['success']:.1f}%", file=sys.stderr)
    return made


def scored(ways: Ways, policy: str, kept: Path) -> dict[str, Any]:
    if not kept.exists():
        kept.write_text(ways.run("eval", "household-unseen", "--policy", policy, "--json"))
    return json.loads(kept.read_text())  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
