"""Kill a deterministic run at random moments, let it go on, and compare its weights bit for bit.

    python benchmarks/kills.py -n 20

Prints JSON: when each run was killed, how much of it was done by then, and whether its end is that of the run which
nobody killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from agentrl import api
from agentrl.trainers.loop import Training

SETTINGS = [
    "rollout.tasks=2",
    "rollout.group=4",
    "limits.turns=6",
    "limits.turn_tokens=12",
    "kwargs.reward=dense",
    "iterations=3",
    "checkpoint_every=1",
    "evaluate=false",
    "threads=1",
]


def begin(folder: Path) -> None:
    Training.new(api.recipe_for("household-tiny", SETTINGS), folder).run()


def go_on(folder: Path) -> None:
    if (folder / "recipe.yaml").exists():
        Training.resume(folder).run()
    else:
        begin(folder)


def start(work: Callable[[Path], None], folder: Path) -> int:
    """A process that has imported everything already; its id."""
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    try:
        work(folder)
    except BaseException as error:
        print(f"{folder.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def whole(work: Callable[[Path], None], folder: Path) -> float:
    """Let it end; seconds."""
    clock = time.perf_counter()
    _, status = os.waitpid(start(work, folder), 0)
    if status:
        raise SystemExit(f"{folder} did not end well")
    return time.perf_counter() - clock


def killed(folder: Path, seconds: float) -> bool:
    """Kill a run so long after its start; False where it had ended before."""
    pid = start(begin, folder)
    time.sleep(seconds)
    done, _ = os.waitpid(pid, os.WNOHANG)
    if done:
        return False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def weights(folder: Path) -> bytes:
    return (folder / "checkpoints" / "last" / "model.safetensors").read_bytes()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=20, help="runs that are killed")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        whole(begin, home / "warm")  # what is cached on disk by the first run is there for all
        takes = whole(begin, home / "whole")
        found = []
        while len(found) < given.n:
            folder, at = home / f"run{len(found)}", moments.uniform(0, takes)
            if not killed(folder, at):
                folder.rename(home / f"early{time.monotonic_ns()}")
                continue
            last = folder / "checkpoints" / "last"
            done = int(last.resolve().name) if last.exists() else None
            whole(go_on, folder)
            found.append(
                {
                    "killed_at_s": round(at, 2),
                    "iterations_done": done,
                    "same": weights(folder) == weights(home / "whole"),
                }
            )
            print(json.dumps(found[-1]), file=sys.stderr)
    same = sum(run["same"] for run in found)
    print(
        json.dumps({"run_s": round(takes, 2), "kills": len(found), "same_bit_for_bit": same, "runs": found}, indent=1)
    )
    sys.exit(same != len(found))


if __name__ == "__main__":
    main()
