from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import agentrl as ar
from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign, names, plan, registry


@pytest.fixture(autouse=True)
def _forget_what_a_test_registers() -> Iterator[None]:
    yield
    for kind, id in list(registry.METHODS.registered):
        if id not in registry.BUILTIN[kind]:
            del registry.METHODS.registered[kind, id]


@pytest.fixture
def table() -> TurnTable:
    return TurnTable.from_arrays(
        ids=["a", "b", "c"],
        group=["g", "g", "h"],
        length=[3, 2, 1],
        reward=[0, 0, 1, 0, 0, 1],
        anchor=["s", "t", "s", "s", "u", "s"],
    )


def test_an_estimator_of_the_users(table: TurnTable) -> None:
    @ar.estimator("first-half", needs=["outcome"])
    def first_half(table, state):  # type: ignore[no-untyped-def]
        a = ar.group_centred(table.outcome, table.group)
        return a[table.trajectory] * (table.turn < table.length[table.trajectory] / 2), state

    assert assign(table, credit="first-half").advantages.tolist() == [0.5, 0.5, 0, -0.5, 0, 0]
    assert "first-half" in names("estimator")


def test_weights_parts_and_modulators_in_order(table: TurnTable) -> None:
    @ar.modulator("plus")
    def plus(table: TurnTable, advantages: Any, state: Any, *, amount: float = 1.0) -> tuple[Any, Any]:
        return advantages + amount, state

    @ar.modulator("double")
    def double(table: TurnTable, advantages: Any, state: Any) -> tuple[Any, Any]:
        return 2 * advantages, state

    credit = assign(table, credit=[{"grpo": {"weight": 0.5}}, {"plus": {"amount": 3}}, "gigpo-step", "double"])
    assert set(credit.parts) == {"grpo", "gigpo-step"}
    total = credit.parts["grpo"] + credit.parts["gigpo-step"]
    np.testing.assert_array_equal(credit.advantages, 2 * (total + 3))
    np.testing.assert_array_equal(credit.parts["grpo"], 0.5 * assign(table).advantages)
    halved = assign(table, credit={"gigpo": {"weight": 0.5}})
    np.testing.assert_array_equal(halved.advantages, 0.5 * credit.parts["gigpo-step"] + credit.parts["grpo"])


def test_state_is_handed_on_and_never_changed_in_place(table: TurnTable) -> None:
    @ar.estimator("count")
    def count(table: TurnTable, state: Any) -> tuple[Any, Any]:
        return np.full(len(table), float(state or 0)), (state or 0) + 1

    first = assign(table, credit=["count", "count"])
    second = assign(table, credit=["count", "count"], state=first.state)
    assert first.state == {"count": 1, "count#2": 1}
    assert second.state == {"count": 2, "count#2": 2}
    assert second.advantages.tolist() == [2.0] * 6


@pytest.mark.parametrize(
    ("rewards", "credit", "message"),
    [
        ([], ["grpi"], "unknown credit method 'grpi'; did you mean 'grpo'"),
        (["grpo"], ["grpo"], "unknown reward transform 'grpo'"),
        ([], [{"gigpo-step": {"gama": 1}}], "unknown option of gigpo-step 'gama'; did you mean 'gamma'"),
        ([], [{"gigpo": {"gama": 1}}], "unknown option of gigpo 'gama'; did you mean 'gamma'"),
        ([], [{"gigpo-step": {"gamma": 1.5}}], "option gamma of gigpo-step: .*less than or equal to 1, not 1.5"),
        ([], [{"gigpo-step": {"similarity": 1.0}}], "option similarity of gigpo-step: .*less than 1"),
        ([], [{"grpo": {"statistics": "turns"}}], "option statistics of grpo: .*'rows' or 'trajectories'"),
        ([], [{"grpo": {"weight": "much"}}], "option weight of grpo must be a number"),
        ([], [{"grpo": {}, "gigpo-step": {}}], "written as a name or as one"),
        ([], [], "at least one estimator"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused_before_anything_runs(rewards: Any, credit: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(rewards, credit)


def test_a_plan_says_which_columns_it_needs() -> None:
    assert plan(["invalid-penalty"], ["gigpo"]).needs == {"outcome", "anchor"}


def test_ids_that_are_taken() -> None:
    with pytest.raises(UserError, match=r"estimator id 'grpo' .* is taken by agentrl.trainers.credit.grpo"):
        ar.estimator("grpo")(lambda table, state: (None, state))
    with pytest.raises(UserError, match="alias"):
        ar.estimator("gigpo")(lambda table, state: (None, state))
    with pytest.raises(UserError, match=r"column that mine needs: 'anchors'; did you mean 'anchor'"):
        ar.estimator("mine", needs=["anchors"])


def test_what_a_method_returns_is_checked(table: TurnTable) -> None:
    @ar.estimator("short")
    def short(table: TurnTable, state: Any) -> tuple[Any, Any]:
        return np.zeros(2), state

    @ar.estimator("nan")
    def nan(table: TurnTable, state: Any) -> tuple[Any, Any]:
        return np.where(np.arange(len(table)) == 4, np.nan, 0.0), state

    with pytest.raises(UserError, match=r"short must return one advantage a turn: shape \(6,\), not \(2,\)"):
        assign(table, credit="short")
    with pytest.raises(UserError, match="nan gave nan to trajectory 'b', turn 1"):
        assign(table, credit="nan")


def test_diagnostics(table: TurnTable) -> None:
    found = assign(table).diagnostics
    assert found["anchor_hit_rate"] == pytest.approx(3 / 6)  # a's two visits of s and b's one; c is another group
    assert found["anchor_singleton_share"] == pytest.approx(3 / 6)
    assert found["groups_no_signal"] == found["groups_all_pass"] == 0.5
    assert found["groups_all_fail"] == 0.0


def test_rounding_noise_is_not_blown_up() -> None:
    thirds = TurnTable.from_arrays(
        ids=["a", "b", "c"], group=["g"] * 3, length=[1, 1, 3], reward=[0.3, 0.3, *[0.1] * 3]
    )
    assert assign(thirds).advantages.tolist() == [0.0] * 5
    one_invalid = TurnTable.from_arrays(
        ids=["a", "b"], group=["g", "g"], length=[2, 2], reward=[0.0] * 4, valid=[True, False, True, True]
    )
    assert assign(one_invalid, "invalid-penalty").advantages.tolist() == [0.0, -0.1, 0.0, 0.0]


def test_a_batch_in_which_nobody_earned_a_named_reward_is_no_error():
    table = TurnTable.from_arrays(ids=["a", "b"], group=["g", "g"], length=[2, 1], reward=[0.0, 0.0, 0.0])
    assert (assign(table, credit="gdpo").advantages == 0).all()
    paid = TurnTable.from_arrays(ids=["a", "b"], group=["g", "g"], length=[2, 1], reward=[0.0, 1.0, 0.0])
    with pytest.raises(UserError, match="gdpo needs rewards by name"):
        assign(paid, credit="gdpo")
