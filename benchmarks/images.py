"""A small vision-language policy learns from images: half of it by imitation, the rest by reinforcement.

    python benchmarks/images.py [--seeds 2] [--out sweeps/images]

Prints success on unseen tasks before and after for each seed, and the largest gap between sampler and trainer. The
model has 0.13 million parameters and random weights at first; the environment is ``examples/colours.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from agentrl import api

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "vision"))
ENV = f"{ROOT / 'examples' / 'colours.py'}:Colours-v0"
SETTINGS = ["rollout.tasks=8", "rollout.group=8", "limits.turn_tokens=8", "optim.lr=1e-3", "threads=1", "trackers=[]"]


def main() -> None:
    import vl

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("sweeps/images"))
    given = parser.parse_args()
    demos = api.collect(ENV, "expert", 24, given.out / "demos")
    new = vl.small(given.out / "new")
    half = api.sft(demos, model=str(new), out=given.out / "half", lr=5e-3, epochs=10, batch=6)
    for seed in range(given.seeds):
        out, begin = given.out / f"seed-{seed}", time.process_time()
        api.train(ENV, policy=half, out=out, seed=seed, iterations=12, set=SETTINGS)
        seconds = time.process_time() - begin
        before, after = (json.loads((out / f"{name}.json").read_text())["success"] for name in ("before", "after"))
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
        gap = max(row["update"]["logprob_gap_max"] for row in rows)
        print(
            json.dumps({"seed": seed, "before": before, "after": after, "gap": gap, "cpu_seconds": round(seconds, 1)})
        )


if __name__ == "__main__":
    main()
