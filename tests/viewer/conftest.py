"""A run folder as training leaves it, made by hand so that its texts can be anything; and a real Chromium."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from agentrl import store
from agentrl.trainers import credit, passes
from agentrl.trainers.batching import samples_of
from agentrl.trainers.credit import TurnTable, ledger
from agentrl.types import Group, Task, ToolRecord, Trajectory, Turn


def turn(rng: np.random.Generator, i: int, text: str = "", state: str = "") -> Turn:
    c = 4
    return Turn(
        text or f"You are in room {i}.",
        state_key=state or f"room {i % 5}",
        prompt_ids=np.arange(6 + i),
        completion_ids=rng.integers(0, 50, c),
        logprobs=-rng.random(c),
        entropies=rng.random(c),
        text=text or f"go {i}",
        action=text or f"go {i}",
        tool_calls=[ToolRecord(text or "search", {"q": text or "key"}, 12, 0.25, 0.5, text or None)]
        if i % 3 == 0
        else [],
        versions=[(0, 0)],
        seconds={"policy": 0.1, "env": 0.01},
    )


def episode(rng: np.random.Generator, id: str, task: Task, turns: int, text: str = "", **rest: Any) -> Trajectory:
    t = Trajectory(id, task, 0, [turn(rng, i, text) for i in range(turns)], success=bool(rng.random() < 0.5), **rest)
    t.turns[-1].rewards = {"task": float(t.success)}
    t.info["task_type"] = text or "fetch"
    return t


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    def make(iterations: int = 3, text: str = "", turns: int = 6, members: int = 4) -> Path:
        run = tmp_path / "run"
        rng = np.random.default_rng(0)
        lines = []
        for iteration in range(iterations):
            task = Task("E-v0", text or f"task-{iteration}", (("size", text or "tiny"),))
            name = f"{text}{iteration}"
            played = [episode(rng, f"{name}-{i}", task, turns, text) for i in range(members)]
            branch = episode(rng, f"{name}-b", task, turns, text, parent=played[0].id, branch_turn=2)
            branch.turns[:2] = played[0].turns[:2]
            groups = [Group(task, name, [*played, branch])]
            store.write(run / "trajectories", f"{iteration:06d}", groups, iteration=iteration)
            given = credit.assign(TurnTable.from_groups(groups), [], ["grpo", "gigpo-step"])
            ledger.write(run / "credit", f"{iteration:06d}", given)
            samples = samples_of([*played, branch], given.advantages, given.table.start.tolist(), iteration)
            for sample in samples:
                sample.passed = np.where(sample.turn >= 0, sample.old_logprobs + np.float32(0.5), np.nan)
            passes.write(run / "passes", f"{iteration:06d}", samples, given.table)
            lines.append({"iteration": iteration, "return": 0.5, "update": {"entropy": 0.1 * iteration}})
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        recipe = {"env": text or "E-v0", "credit": ["grpo", "gigpo-step"], "iterations": iterations, "seed": 0}
        (run / "recipe.yaml").write_text(yaml.safe_dump(recipe))
        rate = {"success": 0.25, "ci_low": 0.1, "ci_high": 0.4, "episodes": 40}
        for at, success in (("before", 0.25), ("after", 0.75)):
            told = {
                "suite": text or "s",
                **rate,
                "success": success,
                "ci_high": 0.9,
                "by_type": {text or "fetch": rate},
            }
            (run / f"{at}.json").write_text(json.dumps(told))
        (run / "summary.json").write_text(json.dumps({"wall_s": 61.0, "stopped": text or None}))
        return run

    return make


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium. Without it the tests are skipped, or fail where AGENTRL_REQUIRE names web."""
    try:
        from playwright.sync_api import sync_playwright

        with sync_playwright() as playwright:
            options = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"]}
            chromium = playwright.chromium.launch(**options)
            yield chromium
            chromium.close()
    except Exception as error:
        if "web" in os.environ.get("AGENTRL_REQUIRE", "").split(","):
            raise
        pytest.skip(f"no browser here: {str(error).splitlines()[0]}")
