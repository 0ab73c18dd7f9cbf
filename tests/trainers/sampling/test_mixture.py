"""Several environments by weight: shares hold at every moment, groups are of one, each has a source of its own."""

from __future__ import annotations

import asyncio
import copy
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import RolloutConfig
from agentrl.trainers.sampling import Sampling
from agentrl.trainers.sampling.mixture import Mixture
from agentrl.types import Group, Task

from .conftest import World

TASKS = [Task(f"{env}-v0", i) for env in "AB" for i in range(20)]


def mixed(source: object = "uniform", weights: tuple[float, float] = (2, 1), n: int = 4) -> Sampling:
    config = RolloutConfig.model_validate({"tasks": n, "group": 4, "deterministic": True, "source": source})
    return Sampling.of(config, 0, {"A-v0": weights[0], "B-v0": weights[1]})


def play(made: Sampling, iterations: range) -> list[list[Group]]:
    world, found = World(2, lambda task: 0.5), []
    for i in iterations:
        groups, dropped = asyncio.run(made.play(i, TASKS, world.play))
        made.observe([*groups, *dropped])
        found.append(groups)
    return found


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5), st.integers(1, 60))
def test_every_environment_has_its_share_at_every_moment(weights: list[float], n: int) -> None:
    made = Mixture(weights={f"{i}": w for i, w in enumerate(weights)}, sources={})
    counts = Counter(made._kinds(n))
    for kind, weight in made.weights.items():
        above = counts[kind] - n * weight / sum(weights)
        assert 1 - len(weights) - 1e-9 < above < 1 + 1e-9
    assert made._kinds(n // 2) == made._kinds(n)[: n // 2]


@pytest.mark.parametrize("source", ["uniform", "curriculum", "prompt-replay", "vade"])
def test_groups_are_of_one_environment_and_go_on_after_a_resume(source: str) -> None:
    made = mixed(source)
    played = play(made, range(6))
    assert Counter(group.task.env for groups in played for group in groups) == {"A-v0": 16, "B-v0": 8}
    assert all(t.task == group.task for groups in played for group in groups for t in group)
    fresh = mixed(source)
    fresh.state = copy.deepcopy(made.state)
    again = [[group.task for group in groups] for groups in play(fresh, range(6, 8))]
    assert again == [[group.task for group in groups] for groups in play(made, range(6, 8))]


def test_each_environment_goes_through_all_of_its_tasks() -> None:
    played = [group.task for groups in play(mixed(weights=(1, 1)), range(10)) for group in groups]
    assert Counter(played) == dict.fromkeys(TASKS, 1)


def test_what_methods_of_a_mixture_need_is_known() -> None:
    made = mixed({"restarts": {"path": "nowhere"}})
    assert made.branches
    assert not made.labels


def test_arguments_and_names_of_several_environments_are_checked() -> None:
    with pytest.raises(UserError, match="did you mean 'weight'"):
        api.recipe_for("default", ["env={A-v0: {wieght: 2}}"])
    with pytest.raises(UserError, match="kwargs are of one environment"):
        api.recipe_for("default", ["env={A-v0: 1, B-v0: 1}", "kwargs={size: tiny}"])
    twice = api.recipe_for("default", ["env={'agentrl/Household-v0:train': 1, agentrl/Household-v0: 1}"])
    with pytest.raises(UserError, match="names agentrl/Household-v0 twice"):
        Training.new(twice, Path("never")).run()


def test_a_run_on_two_environments_tells_of_each(tiny_policy: Path, tmp_path: Path) -> None:
    envs = "env={agentrl/Household-v0: {weight: 2, kwargs: {size: tiny}}, agentrl/Probe-memory-v0: 1}"
    small = ["rollout.tasks=3", "rollout.group=2", "limits.turns=2", "limits.turn_tokens=8", "iterations=1"]
    recipe = api.recipe_for(
        "household-tiny", ["kwargs={}", envs, f"policy.path={tiny_policy}", "evaluate=false", "suite=''", *small]
    )
    Training.new(recipe, tmp_path / "run").run()
    line = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    told = line["environments"]
    assert {env: (of["groups"], of["episodes"]) for env, of in told.items()} == {
        "agentrl/Household-v0": (2, 4),
        "agentrl/Probe-memory-v0": (1, 2),
    }
    groups = store.read(tmp_path / "run" / "trajectories")
    assert sorted(len({t.task.env for t in group}) for group in groups) == [1, 1, 1]
    suite = Training.new(recipe, tmp_path / "other")._suite()
    assert [part.env for part in suite.parts] == ["agentrl/Household-v0", "agentrl/Probe-memory-v0"]
