"""Monte-Carlo values: of a world whose values are known exactly, and in a run."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agentrl import api, store
from agentrl.envs.keydoor.values import Values, exact_values, mixed_policy
from agentrl.envs.keydoor.world import LIMIT, State, advance, world_of
from agentrl.errors import UserError
from agentrl.policies.scripted import Random
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.trainers.continuations import continued, histories
from agentrl.trainers.credit import TurnTable, assign, ledger
from agentrl.trainers.loop import Training
from agentrl.trainers.progress import Observer
from agentrl.types import Group, Task, Trajectory

TASK = "row5-start2-key1-door3-goal5"
GAMMA = 0.9
SMALL = [
    "rollout.tasks=2",
    "rollout.group=2",
    "limits.turns=4",
    "limits.turn_tokens=12",
    "kwargs.reward=dense",
    "rewards=[]",
    "mc_value.k=2",
    "checkpoint_every=1",
    "evaluate=false",
    "optim.anneal=false",
]


def played(rollout: Rollout, count: int) -> tuple[TurnTable, list[Trajectory]]:
    task = Task("agentrl/KeyDoor-v0", TASK)
    found = asyncio.run(rollout.run([Job(f"{i}", task, seed=i, group="g") for i in range(count)]))
    return TurnTable.from_groups([Group(task, "g", found)]), found


def cells(trajectory: Trajectory) -> list[tuple[State, int, str]]:
    """State, turns left and action of each turn."""
    world, found = world_of(TASK), []
    state = world.first
    for left, turn in zip(range(LIMIT, 0, -1), trajectory.turns, strict=False):
        action = str(turn.action)
        found.append((state, left, action))
        state = advance(world, state, action) or state
    return found


@pytest.mark.parametrize("level", ["exact", "replay"])
def test_the_mean_of_continuations_is_the_exact_value(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentrl.envs.keydoor.env import KeyDoor

    monkeypatch.setattr(KeyDoor, "snapshot_level", level)
    rollout = Rollout(Random(), keep_states=True)
    table, trajectories = played(rollout, 2)
    exact: Values = exact_values(TASK, mixed_policy(TASK, 1.0), GAMMA)
    filled, told = continued(
        table, trajectories, rollout, k=60, gamma=GAMMA, temperature=1.0, seed=0, observer=Observer()
    )
    rollout.close()
    at = [cell for t in trajectories for cell in cells(t)]
    value = np.array([exact.v[state, left] for state, left, _ in at])
    error = np.maximum(filled.mc_error, 0.5 / 60)  # where no draw of sixty earned anything
    assert (np.abs(filled.mc_values - value) < 5 * error).all()
    assert np.corrcoef(filled.mc_values, value)[0, 1] > 0.9
    advantage = np.array([exact.advantage(*cell) for cell in at])
    after = np.append(error[1:], 0.0)
    after[filled.start + filled.length - 1] = 0.0
    found = assign(filled, credit={"mc-value": {"gamma": GAMMA}}).advantages
    assert (np.abs(found - advantage) < 5 * (error + after)).all()
    different = len(set(histories(trajectories)))
    assert different < len(table)  # both begin in the same room
    assert told["episodes"] == 60 * different
    assert told["failed"] == told["tokens"] == 0
    assert told["env_steps"] > told["episodes"]


def test_continuations_go_by_the_limits_of_the_episode() -> None:
    """The last of its turns has one turn left, so its value is the mean of single rewards."""
    rollout = Rollout(Random(), keep_states=True)
    table, trajectories = played(rollout, 3)
    filled, _ = continued(table, trajectories, rollout, k=3, gamma=1.0, temperature=1.0, seed=1, observer=Observer())
    rollout.close()
    whole = filled.length == LIMIT
    last = (filled.start + filled.length - 1)[whole]
    assert len(last)
    exact = exact_values(TASK, mixed_policy(TASK, 1.0))
    for row, t in zip(last, np.array(trajectories, object)[whole], strict=True):
        state, left, _ = cells(t)[-1]
        assert left == 1
        assert exact.v[state, 1] > 0 or filled.mc_values[row] == 0


def test_turns_share_a_value_where_all_before_them_was_the_same() -> None:
    rollout = Rollout(Random(), keep_states=True)
    table, trajectories = played(rollout, 4)
    filled, _ = continued(table, trajectories, rollout, k=5, gamma=1.0, temperature=1.0, seed=1, observer=Observer())
    rollout.close()
    pasts = [(*(str(turn.action) for turn in t.turns[:i]),) for t in trajectories for i in range(len(t.turns))]
    by_past = {
        past: {value for other, value in zip(pasts, filled.mc_values, strict=True) if other == past} for past in pasts
    }
    assert all(len(values) == 1 for values in by_past.values())
    numbers = histories(trajectories)
    assert len(set(numbers)) == len(by_past) < len(pasts)
    assert [numbers[pasts.index(past)] for past in pasts] == numbers


def test_one_draw_has_no_error() -> None:
    rollout = Rollout(Random(), keep_states=True)
    table, trajectories = played(rollout, 1)
    filled, told = continued(table, trajectories, rollout, k=1, gamma=1.0, temperature=1.0, seed=1, observer=Observer())
    rollout.close()
    assert np.isfinite(filled.mc_values).all()
    assert np.isnan(filled.mc_error).all()
    assert told["mean_error"] == 0


def recipe(*changes: str) -> object:
    return api.recipe_for("household-tiny", [*SMALL, "credit=[mc-value]", *changes])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def test_a_run_and_its_resume(tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    Training.new(recipe("iterations=2"), whole).run()
    Training.new(recipe("iterations=1"), half).run()
    Training.resume(half, iterations=2).run()
    first, second = weights(whole), weights(half)
    assert all(torch.equal(first[key], second[key]) for key in first)
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        name = f"{line['iteration']:06d}"
        groups = store.read(whole / "trajectories" / f"{name}.parquet")
        table = TurnTable.from_groups(groups)
        told = line["continuations"]
        assert told["episodes"] == 2 * len(set(histories([t for group in groups for t in group])))
        assert told["tokens"] >= told["episodes"]
        assert told["env_steps"] > 0
        assert line["episodes"] == 4 * (line["iteration"] + 1)  # continuations are counted apart
        stored = ledger.trained(whole / "credit" / f"{name}.parquet", groups)
        again = assign(stored, credit="mc-value").advantages
        np.testing.assert_array_equal(ledger.read(whole / "credit" / f"{name}.parquet", table).advantages, again)
    assert lines[0]["update"]["logprob_gap"] < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["mc_value=null"], r"credit mc-value needs mc_values, which nothing in the recipe gives: set mc_value=\{\}"),
        (["credit=[grpo]"], "mc_value: no method asks for what it gives; name mc-value in credit"),
    ],
)
def test_recipes_that_cannot_work_are_refused(changes: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        Training.new(recipe(*changes), tmp_path / "run").run()


def test_an_environment_that_cannot_go_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agentrl.envs.household.env import Household

    monkeypatch.setattr(Household, "snapshot_level", "none")
    with pytest.raises(UserError, match="cannot be brought back to an earlier turn"):
        Training.new(recipe(), tmp_path / "run").run()
