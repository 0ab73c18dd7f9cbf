"""agentrl's side: the recipe that matches what trl_side.py asks of TRL. Argument: the settings as a JSON file."""

from __future__ import annotations

import json
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import rooms

from agentrl import api, store
from agentrl.trainers.loop import Training
from agentrl.trainers.progress import Observer


class Clock(Observer):
    """A line an iteration: its episodes' success, and seconds since training began, in all and by part."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given
        self.begin: float | None = None
        self.begin_cpu = 0.0
        self.tokens = 0
        self.parts: dict[str, float] = {}
        self.history: list[float] = []

    def phase(self, name: str, total: int) -> None:
        if self.begin is None:
            self.begin, self.begin_cpu = time.perf_counter(), time.process_time()

    def iteration(self, metrics: dict[str, Any], total: int) -> None:
        seconds = time.perf_counter() - (self.begin or 0.0)
        spent = metrics["time"]
        self.tokens += round(metrics["tokens_per_second"] * spent["sampling"])
        for name in ("rollout", "sampling", "policy"):
            self.parts[name] = self.parts.get(name, 0.0) + spent[name]
        self.history.append(metrics["success"])
        line = {"seconds": seconds, "success": metrics["success"], "tokens": self.tokens, "parts": dict(self.parts)}
        line["processor_seconds"] = time.process_time() - self.begin_cpu
        with Path(self.given["out"]).open("a") as file:
            file.write(json.dumps(line) + "\n")
        recent = self.history[-self.given["window"] :]
        reached = len(recent) == self.given["window"] and sum(recent) / len(recent) >= self.given["goal"]
        if reached or seconds > self.given["seconds"]:
            signal.raise_signal(signal.SIGINT)  # as Ctrl-C: the iteration is finished and saved


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    recipe = api.recipe_for(
        "Rooms-v0",
        [
            f"policy.path={given['policy']}",
            f"plugins=[{rooms.__file__}]",
            f"rollout.tasks={given['tasks']}",
            f"rollout.group={given['group']}",
            f"limits.turns={rooms.TURNS}",
            f"limits.turn_tokens={given['turn_tokens']}",
            f"credit=[{{grpo: {{std: {str(given['std']).lower()}}}}}]",
            "rewards=[]",
            "loss={policy: {ppo: {dual: null}}, aggregate: sequence}",
            "optim.anneal=false",
            f"optim.lr={given['lr']}",
            f"optim.warmup={given['warmup']}",
            f"optim.minibatches={given['minibatches']}",
            f"iterations={given['iterations']}",
            "checkpoint_every=1000000",
            "evaluate=false",
            f"threads={given['threads']}",
            f"seed={given['seed']}",
        ],
    )
    with suppress(KeyboardInterrupt):
        Training.new(recipe, Path(given["folder"]), Clock(given)).run()
    trajectory = store.read(Path(given["folder"]) / "trajectories" / "000000.parquet")[0].trajectories[0]
    asked = {"task": trajectory.task.id, "ids": trajectory.turns[0].prompt_ids.tolist()}
    Path(given["first"]).write_text(json.dumps(asked))


if __name__ == "__main__":
    main()
