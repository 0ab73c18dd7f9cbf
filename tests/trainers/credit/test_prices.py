"""Transforms that change what a trajectory was worth."""

from __future__ import annotations

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign


@pytest.fixture
def table() -> TurnTable:
    return TurnTable.from_arrays(
        ids=["a", "b", "c"],
        group=["g", "g", "h"],
        length=[2, 1, 1],
        reward=[0.5, 0.5, 0.0, -1.0],
        success=[True, False, False],
        tokens=[100, 300, 900, 50],
        tool_calls=[1, 2, 1, 0],
        cost=[0.0, 2.0, 1.0, 0.0],
    )


def test_a_price_for_what_was_used(table: TurnTable) -> None:
    after = assign(table, [{"tool-price": {"call": 0.1, "token": 0.001, "cost": 0.01}}]).table
    np.testing.assert_allclose(after.reward, [0.5 - 0.2, 0.5 - 0.2 - 0.3 - 0.02, -0.1 - 0.9 - 0.01, -1.05])
    np.testing.assert_allclose(after.outcome, [0.28, -1.01, -1.05])


def test_length_costs_more_where_the_task_is_easy(table: TurnTable) -> None:
    after = assign(table, [{"alp": {"beta": 0.1, "unit": 1000}}]).table
    np.testing.assert_allclose(after.outcome, [1.0 - 0.02, -0.045, -1.005])  # p = 1/2; nobody in h: max(0, 1/1)


def test_overlong_grows_inside_the_buffer_and_stops_at_the_limit(table: TurnTable) -> None:
    after = assign(table, [{"overlong": {"limit": 500, "buffer": 200, "factor": 0.5}}]).table
    np.testing.assert_allclose(after.reward, [0.5, 0.25, -0.5, -1.0])
    np.testing.assert_allclose(after.outcome, [0.75, -0.5, -1.0])


def test_otc_remembers_the_fewest_calls_of_a_task_and_spares_the_lost(table: TurnTable) -> None:
    first = assign(table, "otc")
    assert first.state["otc"] == {"g": 3}
    np.testing.assert_allclose(first.table.outcome, [1.0, 0.0, -1.0])
    second = assign(table, "otc", state={"otc": {"g": 1}})
    np.testing.assert_allclose(second.table.outcome, [np.sin(np.pi * 3 / 4), 0.0, -1.0])
    np.testing.assert_allclose(second.table.reward.sum(), second.table.outcome.sum())


def test_otc_cosine(table: TurnTable) -> None:
    after = assign(table, [{"otc-cosine": {"c": 2.0, "alpha": 2.0}}]).table
    np.testing.assert_allclose(after.outcome, [2 * np.cos(3 * np.pi / 8), 0.0, -1.0])


@pytest.mark.parametrize("method", ["otc", "otc-cosine", "tool-price", "alp", "overlong"])
def test_an_empty_table_stays_empty(method: str) -> None:
    assert len(assign(TurnTable.from_groups([]), method).advantages) == 0


def test_what_names_a_reward_is_checked() -> None:
    table = TurnTable.from_arrays(
        ids=["a", "b"], group=["g", "g"], length=[1, 1], reward=[1.0, 0.0], rewards={"x": [1.0, 0.0]}
    )
    with pytest.raises(UserError, match="unknown criterion in categories of pow3r 'y'"):
        assign(table, {"pow3r": {"weights": {"x": 1.0}, "categories": {"c": ["y"]}}})
    with pytest.raises(UserError, match=r"option weights.x of pow3r: .* greater than or equal to 0"):
        assign(table, {"pow3r": {"weights": {"x": -1.0}}})
    absent = assign(table, {"carr": {"weight": 0.25}})
    assert absent.table.outcome.tolist() == [0.75, 0.0]
    assert absent.diagnostics["earned_rubric"] == 0.0
