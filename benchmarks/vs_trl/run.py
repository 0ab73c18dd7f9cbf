"""The same policy, game and group sizes trained by agentrl and by TRL's GRPOTrainer, one after the other.

    python benchmarks/vs_trl/run.py

TRL gets a virtual environment of its own (``--venv``; made, with pip, where it is not there yet) and is used as its
guide says for environments: ``environment_factory``, with transformers' generation. Both sides train in float32 on
one thread with the same loss, optimiser and minibatches; a side ends when the mean success of its last iterations
reaches the goal, or at its limit of seconds. Prints JSON: when each side was where, tokens a second, and where the
time went. The first prompt of both is compared, id by id.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import rooms  # registers the game

from agentrl import api
from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.policies.load import load_model
from agentrl.trainers import models

HERE = Path(__file__).parent
PACKAGES = ["torch==2.13.0", "trl==1.16.*", "gymnasium"]
SETTINGS: dict[str, Any] = {
    "tasks": 8,
    "group": 8,
    "minibatches": 4,
    "lr": 6e-4,
    "warmup": 6,
    "betas": [0.9, 0.95],
    "std": False,
    "turn_tokens": 32,
    "tokens": 900,
    "threads": 1,
    "seed": 0,
    "window": 5,
}


def policy(folder: Path, episodes: int, epochs: float) -> None:
    """A policy of 1.2M parameters that imitates an expert, and at last its noise too: so it has something to learn.

    The template tells of no tools: TRL and agentrl write a tool's schema differently; so the system message tells, and
    is the same for both.
    """
    models.CHAT_TEMPLATE = "{%- set tools = none -%}" + models.CHAT_TEMPLATE
    api.collect("Rooms-v0", "expert", episodes, folder.parent / "demos", noise=0.5)
    options = {"observation_weight": 0.3, "noise_from": 0.7, "noise_weight": 0.4, "batch": 8, "bf16": True}
    api.sft(folder.parent / "demos", from_scratch="1m", out=folder, epochs=epochs, **options)


def python_of(venv: Path) -> Path:
    found = venv / "bin" / "python"
    if not found.exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        for packages in (PACKAGES[:1], PACKAGES):  # torch first: what comes after must not bring another
            subprocess.run([found, "-m", "pip", "install", "-q", *packages], check=True, stdout=sys.stderr)
    return found


def side(name: str, python: Path, settings: dict[str, Any], home: Path) -> dict[str, Any]:
    out, first = home / f"{name}.jsonl", home / f"{name}-first.json"
    own = settings | {"out": str(out), "first": str(first), "folder": str(home / name)}
    (home / f"{name}.json").write_text(json.dumps(own))
    out.unlink(missing_ok=True)
    places = [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": str(settings["threads"])}
    command = [python, HERE / f"{name}_side.py", home / f"{name}.json"]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr, stdin=subprocess.DEVNULL)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    last, window = lines[-1], settings["window"]
    smooth = [sum(x["success"] for x in lines[i - window : i]) / window for i in range(window, len(lines) + 1)]
    reached = [i for i, value in enumerate(smooth) if value >= settings["goal"]]
    return {
        "seconds_to_goal": round(lines[reached[0] + window - 1]["seconds"], 1) if reached else None,
        "iterations": len(lines),
        "seconds": round(last["seconds"], 1),
        "seconds_per_iteration": round(last["seconds"] / len(lines), 2),
        "processor_seconds": round(last["processor_seconds"], 1),
        "sampled_tokens": last["tokens"],
        "success_at_first": round(smooth[0], 3) if smooth else None,
        "success_at_last": round(smooth[-1], 3) if smooth else None,
        "sampled_tokens_per_s": round(last["tokens"] / last["seconds"], 1),
        "sampled_tokens_per_processor_s": round(last["tokens"] / last["processor_seconds"], 1),
        "seconds_by_part": {part: round(value, 1) for part, value in last["parts"].items()},
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--venv", type=Path, default=Path(".venv-trl"), help="TRL's virtual environment")
    options.add_argument("--home", type=Path, help="where policies and records stay; none: a temporary folder")
    options.add_argument("--goal", type=float, default=0.85, help="mean success of five iterations")
    options.add_argument("--seconds", type=float, default=900, help="that each side gets at most")
    options.add_argument("--iterations", type=int, default=60, help="at most")
    options.add_argument("--demos", type=int, default=1000, help="episodes that the policy imitates first")
    options.add_argument("--epochs", type=float, default=2.0, help="and how often")
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = (given.home or Path(name)).resolve()
        home.mkdir(parents=True, exist_ok=True)
        start = home / "policy"
        if not start.exists():
            policy(start, given.demos, given.epochs)
        agent = ChatAgent(load_model(start)[1], AgentConfig(), rooms.Rooms.instructions, rooms.Rooms.tools)
        settings = SETTINGS | {
            "policy": str(start),
            "system": agent.system,
            "goal": given.goal,
            "seconds": given.seconds,
            "iterations": given.iterations,
            "seed": given.seed,
        }
        found = {
            "agentrl": side("agentrl", Path(sys.executable), settings, home),
            "trl": side("trl", python_of(given.venv), settings, home),
        }
        for name, told in found.items():
            report = api.evaluate("Rooms-v0:unseen", str(home / name), limit=256)
            told["unseen"] = {key: report.plain()[key] for key in ("success", "ci_low", "ci_high", "episodes")}
        ours = json.loads((home / "agentrl-first.json").read_text())
        theirs = json.loads((home / "trl-first.json").read_text())
        same = agent.start().prompt(rooms.Tools().reset(theirs["task"])).tolist() == theirs["ids"]
        same &= agent.start().prompt(rooms.Tools().reset(ours["task"])).tolist() == ours["ids"]
        a, b = (found[name]["seconds_to_goal"] for name in ("agentrl", "trl"))
        ratio = round(b / a, 2) if a and b else None
        print(json.dumps({"settings": settings, **found, "trl / agentrl": ratio, "same_prompt": same}, indent=1))


if __name__ == "__main__":
    main()
