"""Kill a run at random moments, let it go on, and look at how it ends.

    python benchmarks/kills.py -n 20
    python benchmarks/kills.py -n 20 --free

Prints JSON: when each run was killed, how much of it was done by then, and whether its end is right: of a deterministic
run the weights, bit for bit, of the run which nobody killed; of one whose rollouts run ahead (``--free``) that each
episode that was asked for is stored once, trained on by the iteration that asked for it, and counted, and that those
``kept`` by the kill are among them with the tokens they had.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from agentrl import api, store
from agentrl.trainers.journal import Journal, read
from agentrl.trainers.loop import Training
from agentrl.trainers.record import Record
from agentrl.types import Trajectory

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
FREE = ["rollout.deterministic=false", "rollout.staleness=2", "loss.max_logprob_gap=0.05"]


def begin(folder: Path) -> None:
    Training.new(api.recipe_for("household-tiny", SETTINGS), folder).run()


def begin_free(folder: Path) -> None:
    Training.new(api.recipe_for("household-tiny", [*SETTINGS, *FREE]), folder).run()


def go_on(work: Callable[[Path], None], folder: Path) -> None:
    if (folder / "recipe.yaml").exists():
        Training.resume(folder).run()
    else:
        work(folder)


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


def killed(work: Callable[[Path], None], folder: Path, seconds: float) -> bool:
    """Kill a run so long after its start; False where it had ended before."""
    pid = start(work, folder)
    time.sleep(seconds)
    done, _ = os.waitpid(pid, os.WNOHANG)
    if done:
        return False
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return True


def weights(folder: Path) -> bytes:
    return (folder / "checkpoints" / "last" / "model.safetensors").read_bytes()


def complete(folder: Path) -> bool:
    """Whether each iteration trained on its own episodes, each stored once, and counted them."""
    recipe = api.recipe_for("household-tiny", SETTINGS)
    stored = [
        sorted(t.id for g in store.read(path) for t in g) for path in sorted(folder.glob("trajectories/*.parquet"))
    ]
    groups, size = range(recipe.rollout.tasks), range(recipe.rollout.group)
    asked = [[f"{i:06d}-{g:03d}-{k:03d}" for g in groups for k in size] for i in range(recipe.iterations)]
    counted = [line["episodes"] for line in Record(folder).metrics()]
    return stored == asked and counted == [len(asked[0]) * (i + 1) for i in range(recipe.iterations)]


def tokens(trajectories: Iterable[Trajectory]) -> dict[str, list[list[int]]]:
    return {t.id: [turn.completion_ids.tolist() for turn in t.turns] for t in trajectories}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("-n", type=int, default=20, help="runs that are killed")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--free", action="store_true", help="rollouts run ahead of the trainer")
    given = options.parse_args()
    work = begin_free if given.free else begin
    moments = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        whole(work, home / "warm")  # what is cached on disk by the first run is there for all
        takes = whole(work, home / "whole")
        found = []
        while len(found) < given.n:
            folder, at = home / f"run{len(found)}", moments.uniform(0, takes)
            if not killed(work, folder, at):
                folder.rename(home / f"early{time.monotonic_ns()}")
                continue
            last = folder / "checkpoints" / "last"
            done = int(last.resolve().name) if last.exists() else None
            kept = tokens(read(Journal(folder / "journal", done or 0).path))
            whole(functools.partial(go_on, work), folder)
            if given.free:
                stored = tokens(t for group in store.read(folder) for t in group)
                right = complete(folder) and kept.items() <= stored.items()
            else:
                right = weights(folder) == weights(home / "whole")
            found.append({"killed_at_s": round(at, 2), "iterations_done": done, "kept": len(kept), "right": right})
            print(json.dumps(found[-1]), file=sys.stderr)
    right = sum(run["right"] for run in found)
    print(json.dumps({"run_s": round(takes, 2), "kills": len(found), "right": right, "runs": found}, indent=1))
    sys.exit(right != len(found))


if __name__ == "__main__":
    main()
