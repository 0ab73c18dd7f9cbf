"""Replay of successes: what failed as a whole gets one back, as it was sampled."""

from __future__ import annotations

import asyncio
import copy
import json
from pathlib import Path

import numpy as np
import pytest

from agentrl import api, store
from agentrl.envs import registry
from agentrl.trainers.loop import Training
from agentrl.trainers.sampling import Sampling
from agentrl.types import Group, Task, Trajectory

from .conftest import World, sampling

TASKS = [Task("T-v0", 0), Task("T-v0", 1)]


def once(made: Sampling, iteration: int, chance: float, kept: dict[str, Trajectory]) -> tuple[list[Group], list[Group]]:
    """An iteration as the trainer goes through it: replay, then observe, then store."""
    world = World(2, lambda task: chance if task.id == 0 else 0.0)
    groups, _ = asyncio.run(made.play(iteration, TASKS, world.play))
    learnt, aside = made.replayed(groups, iteration, kept.__getitem__)
    made.observe(groups)
    kept |= {t.id: t for group in groups for t in group}
    return learnt, aside


def test_a_failed_group_gets_an_earlier_success_and_no_other_does() -> None:
    made, kept = sampling(tasks=2, group=4, replay="successes"), {}
    assert once(made, 0, 1.0, kept)[1] == []  # nothing is stored yet
    learnt, aside = once(made, 1, 0.0, kept)
    by_task = {group.task.id: group for group in learnt}
    back, *rest = by_task[0].trajectories
    source = kept[back.info["replayed"]]
    assert source.success
    assert source.id.startswith("000000")
    assert (back.id, back.group) == (f"{by_task[0].id}-replay", by_task[0].id)
    assert back.turns is source.turns  # the records themselves: ids, behaviour logprobs, versions
    assert len(rest) == 3
    assert [t.id for group in aside for t in group] == [f"{by_task[0].id}-000"]
    assert all("replayed" not in t.info for t in by_task[1])  # never solved: nothing to give


def test_what_is_given_back_is_not_remembered_as_new_and_old_ones_go() -> None:
    made, kept = sampling(tasks=2, group=4, replay={"successes": {"capacity": 3}}), {}
    once(made, 0, 1.0, kept)
    before = copy.deepcopy(made.state)
    once(made, 1, 0.0, kept)
    assert made.state["replay"] == before["replay"]
    assert len(made.state["replay"]["T-v0#0"]) == 3
    once(made, 2, 1.0, kept)
    assert all(id.startswith("000002") for id in made.state["replay"]["T-v0#0"])


def test_groups_that_won_something_stay_as_they_are() -> None:
    made, kept = sampling(tasks=2, group=4, replay="successes"), {}
    once(made, 0, 1.0, kept)
    assert once(made, 1, 1.0, kept)[1] == []


@pytest.mark.parametrize("old", ["sampler", "recompute"])
def test_a_run_trains_on_what_an_earlier_policy_sampled(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str
) -> None:
    split = registry.split
    monkeypatch.setattr(registry, "split", lambda *of: split(*of)[:1])  # the same task every time
    small = ["rollout.tasks=1", "rollout.group=3", "limits.turns=2", "limits.turn_tokens=8", "iterations=2"]
    recipe = api.recipe_for(
        "household-tiny",
        [f"policy.path={tiny_policy}", "evaluate=false", "rollout.replay=successes", f"loss.old={old}", *small],
    )
    run = Training.new(recipe, tmp_path / "run")
    win = True

    def won(trajectory: Trajectory) -> None:
        trajectory.success = win  # as it is told, so it is learnt
        for turn in trajectory.turns:
            turn.rewards = {"goal": 1.0} if win else {}

    def next_iteration(metrics: dict[str, object], total: int) -> None:
        nonlocal win
        win = False

    run.observer.episode = won  # type: ignore[method-assign]
    run.observer.iteration = next_iteration  # type: ignore[method-assign]
    run.run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["replayed"] for line in lines] == [0, 1]
    assert [line["success"] for line in lines] == [1.0, 0.0]  # what was played, not what was given back
    assert lines[1]["lag"]["max"] == 1
    assert lines[1]["update"]["logprob_gap"] < 1e-5
    first, second = (store.read(tmp_path / "run" / "trajectories" / f"00000{i}.parquet") for i in (0, 1))
    by_id = {t.id: t for group in (*first, *second) for t in group}
    back = by_id["000001-000-replay"]
    source = by_id[back.info["replayed"]]
    assert len(by_id) == 7
    for turn, was in zip(back.turns, source.turns, strict=True):
        np.testing.assert_array_equal(turn.completion_ids, was.completion_ids)
        np.testing.assert_array_equal(turn.logprobs, was.logprobs)
        assert turn.versions == was.versions
