"""RLOO, REINFORCE++ and the plain modulators, where no published number says what is right."""

from __future__ import annotations

import numpy as np
import pytest

from agentrl.trainers.credit import TurnTable, assign


def two_groups() -> TurnTable:
    return TurnTable.from_arrays(
        ids=["a", "b", "c", "d"],
        group=["g", "g", "g", "h"],
        length=[1, 2, 1, 1],
        reward=[1.0, 0.0, 0.0, 0.5, 1.0],
        valid=[True, True, False, True, True],
        tokens=[1, 2, 3, 4, 5],
    )


def test_a_lone_trajectory_says_nothing_unless_asked() -> None:
    assert assign(two_groups(), credit="rloo").of("d").tolist() == [0.0]
    assert assign(two_groups(), credit=[{"rloo": {"singleton": "raw"}}]).of("d").tolist() == [1.0]


def test_a_price_stays_on_its_own_row() -> None:
    credit = assign(two_groups(), "invalid-penalty", "rloo")
    np.testing.assert_allclose(credit.advantages, [0.75, -0.75, -0.85, 0.0, 0.0])


@pytest.mark.parametrize("method", ["reinforce-pp", "reinforce-pp-baseline"])
def test_tokens_have_mean_zero_and_size_one(method: str) -> None:
    table = two_groups()
    repeated = np.repeat(assign(table, credit=method).advantages, table.tokens)
    assert repeated.mean() == pytest.approx(0.0, abs=1e-12)
    assert repeated.std(ddof=1) == pytest.approx(1.0, abs=1e-6)


def test_whiten_counts_tokens_or_turns_and_clip_bounds() -> None:
    table = two_groups()
    by_turn = assign(table, credit=["rloo", {"whiten": {"per": "turn"}}]).advantages
    assert by_turn.mean() == pytest.approx(0.0, abs=1e-12)
    assert by_turn.std(ddof=1) == pytest.approx(1.0, abs=1e-6)
    by_token = assign(table, credit=["rloo", "whiten"]).advantages
    assert np.repeat(by_token, table.tokens).mean() == pytest.approx(0.0, abs=1e-12)
    assert np.abs(assign(table, credit=["rloo", {"clip": {"limit": 0.5}}]).advantages).max() == 0.5


def test_without_token_counts_every_turn_counts_once() -> None:
    table = TurnTable.from_arrays(ids=["a", "b"], group=["g", "g"], length=[1, 1], reward=[1.0, 0.0])
    np.testing.assert_allclose(assign(table, credit="reinforce-pp").advantages, [0.5**0.5, -(0.5**0.5)], atol=1e-6)


@pytest.mark.parametrize("method", ["rloo", "reinforce-pp", "reinforce-pp-baseline"])
def test_an_empty_table_gives_nothing(method: str) -> None:
    assert len(assign(TurnTable.from_groups([]), credit=[method, "whiten", "clip"]).advantages) == 0


@pytest.mark.parametrize(("statistics", "shared", "alone"), [("trajectories", 0.0, -0.5), ("rows", 0.25, -0.25)])
def test_salt_subtracts_the_mean_of_episodes_or_of_turns(statistics: str, shared: float, alone: float) -> None:
    """A success of one turn and a failure of three that begins alike: by turns the mean is 1/4, by episodes 1/2."""
    table = TurnTable.from_arrays(
        ids=["a", "b"],
        group=["g", "g"],
        length=[1, 3],
        reward=[1.0, 0.0, 0.0, 0.0],
        anchor=["s", "s", "t", "u"],
        next_anchor=["t", "t", "u", "v"],
        action=["go", "go", "on", "on"],
    )
    credit = {"salt": {"base": "dr-grpo", "statistics": statistics}}
    np.testing.assert_allclose(assign(table, credit=credit).advantages, [shared, shared, alone, alone])
