"""Scores of estimators whose quality is known beforehand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, registry
from agentrl.trainers.credit.bench import Truth, bench, cosine, pearson, ranks, split, steps
from agentrl.trainers.credit.choose import choose
from agentrl.trainers.truth import exact


@pytest.fixture(scope="module")
def truth() -> Truth:
    return exact(16, 8, 0.8, 0)


def test_an_oracle_is_perfect_its_opposite_all_wrong_and_chance_knows_nothing(
    truth: Truth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.METHODS, "registered", dict(registry.METHODS.registered))
    noise = np.random.default_rng(0).normal(size=len(truth.advantage))
    known = {"oracle": 3 * truth.advantage, "opposite": -truth.advantage, "chance": noise, "nothing": 0 * noise}
    for name, values in known.items():
        registry.estimator(f"bench-{name}", needs=[])(lambda table, state, values=values: (values, state))
    scores = {s.estimator: s for s in bench(truth, choose([f"bench-{name}" for name in known]), [8])}
    oracle, opposite, chance, nothing = (scores[f"bench-{name}"] for name in known)
    assert (oracle.pearson.value, oracle.sign.value) == (pytest.approx(1), 1)
    assert oracle.spearman.ci_low == pytest.approx(1)
    assert (opposite.pearson.value, opposite.sign.value) == (pytest.approx(-1), 0)
    assert chance.spearman.ci_low < 0.05
    assert abs(chance.spearman.value) < 0.15
    assert (nothing.pearson.value, nothing.sign.value, nothing.variance) == (0, 0, 0)
    for of_steps in ("gradient", "by_episode"):
        values = [getattr(score, of_steps).value for score in (oracle, opposite, nothing)]
        assert values == pytest.approx([1, -1, 0])


def test_comparing_states_knows_more_than_outcomes(truth: Truth) -> None:
    grpo, step = bench(truth, choose(["grpo", "gigpo-step"]), [8])
    assert step.spearman.ci_low > grpo.spearman.ci_high


def test_steps_add_up(truth: Truth) -> None:
    """What SALT takes from one turn it gives to another of the same step: closer by turn, the same by step."""
    grpo, salt = bench(truth, choose(["grpo", "salt"]), [8])
    assert salt.pearson.value > 1.5 * grpo.pearson.value
    assert salt.gradient.value == pytest.approx(grpo.gradient.value)
    assert salt.gradient.ci_low == pytest.approx(grpo.gradient.ci_low)
    assert salt.by_episode.value != pytest.approx(grpo.by_episode.value, abs=0.01)


def test_equal_steps_of_two_tasks_do_not_add_up() -> None:
    table = TurnTable.from_arrays(
        ids=["a", "b", "c"],
        group=["g", "g", "h"],
        length=[2, 2, 1],
        reward=[0, 1, 0, 0, 0],
        anchor=["s", "s", None, None, "s"],
        action=["x"] * 5,
    )
    first, second, *others = steps(table).tolist()
    assert first == second
    assert len({first, *others}) == 4


def test_smaller_groups_are_the_same_turns(truth: Truth) -> None:
    table = split(truth.table, 4)
    assert (np.bincount(np.unique(table.group, return_inverse=True)[1]) == 4).all()
    assert table.ids == truth.table.ids
    one, two = (set(table.group[truth.table.group == g]) for g in np.unique(truth.table.group)[:2])
    assert one.isdisjoint(two)
    uneven = split(truth.table, 3)
    assert sorted(set(np.bincount(np.unique(uneven.group, return_inverse=True)[1]))) == [3, 5]
    for size in (1, 9):
        with pytest.raises(UserError, match="cannot be made"):
            bench(truth, choose(["grpo"]), [size])


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12))
def test_ranks_are_mean_places(values: list[int]) -> None:
    places = np.arange(len(values), dtype=float)
    order = sorted(values)
    expected = [np.mean([p for p, v in zip(places, order, strict=True) if v == value]) for value in values]
    assert ranks(np.array(values, float)).tolist() == pytest.approx(expected)


def test_noise_in_the_truth_bounds_what_can_be_reached(truth: Truth) -> None:
    assert truth.ceiling == 1.0
    rng = np.random.default_rng(0)
    error = np.full(len(truth.advantage), float(truth.advantage.std()))
    noisy = replace(truth, advantage=truth.advantage + rng.normal(size=len(error)) * error, error=error)
    assert noisy.ceiling == pytest.approx(pearson(truth.advantage, noisy.advantage), abs=0.05)
    assert noisy.significant.mean() < 0.5
    assert cosine(truth.advantage, truth.advantage) == pytest.approx(1)
