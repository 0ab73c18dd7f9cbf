"""Periodic asynchrony: groups are learnt from as they end, and the step is that of all of them together."""

from __future__ import annotations

import asyncio
import copy
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.trainers.batching import Sample
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import LossConfig, OptimConfig
from agentrl.trainers.stream import Stream
from agentrl.trainers.update import Learner
from agentrl.types import Group, Task

from .test_proximal import model, sample

TASK = Task("E-v0", 0)


def learner(**loss: Any) -> Learner:
    return Learner(model(), OptimConfig(lr=1e-2), LossConfig(max_logprob_gap=1e-3, **loss))


def samples(made: Learner) -> list[list[Sample]]:
    """Three groups of different sizes and lengths, with advantages of both signs."""
    groups = [[sample(made.model, seed) for seed in part] for part in ((0, 1), (2, 3, 4), (5,))]
    for one in (one for group in groups for one in group):
        one.advantages = one.weight * (1.0 - one.trajectory / 2)
        cut = 6 + one.trajectory % 3
        for name in ("ids", "weight", "old_logprobs", "advantages", "turn"):
            setattr(one, name, getattr(one, name)[:cut])
        one.columns = {name: column[:cut] for name, column in one.columns.items()}
    return groups


@pytest.mark.parametrize("aggregate", ["token", "turn", "sequence", "sequence-sum"])
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_step_is_that_of_one_update(aggregate: str, order: list[int]) -> None:
    whole, parts = learner(aggregate=aggregate), learner(aggregate=aggregate)
    groups = samples(whole)
    told = whole.update([one for group in copy.deepcopy(groups) for one in group], 0)
    streamed = parts.stream([copy.deepcopy(groups)[i] for i in order])
    assert told.keys() == streamed.keys()
    for key, value in told.items():
        assert streamed[key] == pytest.approx(value, rel=1e-3, abs=1e-5), key
    before = dict(model().named_parameters())
    pairs = zip(whole.model.named_parameters(), parts.model.parameters(), strict=True)
    with torch.no_grad():
        moved = [(float((one - before[name]).norm()), float((one - other).norm())) for (name, one), other in pairs]
    assert sum(apart for _, apart in moved) < 1e-3 * sum(far for far, _ in moved)


def test_the_gap_is_checked_before_the_step() -> None:
    made = learner()
    before = copy.deepcopy(made.model.state_dict())
    with pytest.raises(UserError, match="sampler and trainer disagree"):
        made.stream([[sample(model(7), 1)]])
    assert all(torch.equal(value, before[name]) for name, value in made.model.state_dict().items())


def test_groups_come_while_others_play() -> None:
    taken = threading.Event()

    async def play(put: Callable[[Group], None]) -> str:
        put(Group(TASK, "early"))
        while not taken.is_set():
            await asyncio.sleep(0.001)
        put(Group(TASK, "late"))
        return "all"

    found = []
    with Stream(play) as stream:
        for group in stream:
            found.append(group.id)
            taken.set()
        assert stream.played == "all"
    assert found == ["early", "late"]


def test_what_playing_raises_is_raised_and_who_leaves_stops_it() -> None:
    async def broken(put: Callable[[Group], None]) -> None:
        put(Group(TASK, "a"))
        raise UserError("mend this")

    with Stream(broken) as stream, pytest.raises(UserError, match="mend this"):
        list(stream)

    async def endless(put: Callable[[Group], None]) -> None:
        await asyncio.sleep(10_000)

    with pytest.raises(ValueError, match="enough"), Stream(endless) as stream:
        raise ValueError("enough")
    assert not stream._thread.is_alive()


def recipe(policy: Path, *changes: str) -> Any:
    small = ["rollout.tasks=3", "rollout.group=3", "limits.turns=3", "limits.turn_tokens=8", "iterations=2"]
    free = ["threads=1", "evaluate=false", "optim.minibatches=1", "rollout.deterministic=false", "rollout.stream=true"]
    return api.recipe_for("household-tiny", [f"policy.path={policy}", *small, *free, *changes])


def test_a_streamed_run_is_on_policy_and_trains_on_every_group(tiny_policy: Path, tmp_path: Path) -> None:
    Training.new(recipe(tiny_policy), tmp_path / "run").run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["episodes"] for line in lines] == [9, 18]
    assert all(line["lag"]["max"] == 0 for line in lines)
    assert all(line["update"]["logprob_gap"] < 1e-5 for line in lines)
    ids = [t.id for group in store.read(tmp_path / "run" / "trajectories") for t in group]
    assert len(ids) == len(set(ids)) == 18


def test_credit_that_looks_beyond_a_group_is_refused(tiny_policy: Path, tmp_path: Path) -> None:
    credit = "credit=[{reinforce-pp: {}}, {whiten: {}}]"
    with pytest.raises(UserError, match="looks beyond a group"):
        Training.new(recipe(tiny_policy, credit, "iterations=1"), tmp_path / "run").run()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ("optim.minibatches=2", "minibatches=1"),
        ("rollout.brancher=arpo", "no rollout.brancher"),
        ("rollout.staleness=1", "staleness=0"),
        ("rollout.deterministic=true", "deterministic: false"),
    ],
)
def test_what_does_not_go_with_it_is_said(change: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        recipe(Path("p"), change)


def test_losses_of_whole_batches_are_refused() -> None:
    made = learner(policy="disco")
    assert made.objective.whole
    with pytest.raises(UserError, match="all samples of a step"):
        made.stream([[sample(made.model, 0)]])
