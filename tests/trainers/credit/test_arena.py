"""ArenaRL's tournament: who meets whom, what a rank earns, and that entrants' numbers do not matter."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.trainers.credit import TurnTable, assign
from agentrl.trainers.credit.arena import _bracket, tournament


def by_strength(strength: list[float], met: list[tuple[int, int]] | None = None):
    def points(pairs):
        if met is not None:
            met.extend(pairs)
        return [(strength[one], strength[other]) for one, other in pairs]

    return points


def test_the_bracket_keeps_the_best_apart() -> None:
    assert _bracket(2) == [0, 1]
    assert _bracket(4) == [0, 3, 1, 2]
    assert _bracket(8) == [0, 7, 3, 4, 1, 6, 2, 5]


def test_four_entrants() -> None:
    met: list[tuple[int, int]] = []
    assert tournament(4, by_strength([2.0, 9.0, 5.0, 1.0], met)) == [1 / 3, 1.0, 2 / 3, 0.0]
    assert met == [(1, 0), (2, 0), (3, 0), (1, 3), (2, 0), (1, 2)]


def test_a_bye_advances() -> None:
    met: list[tuple[int, int]] = []
    assert tournament(3, by_strength([1.0, 2.0, 3.0], met)) == [0.0, 0.5, 1.0]
    assert met == [(1, 0), (2, 0), (1, 0), (2, 1)]


def test_who_leaves_in_the_same_round_is_ranked_by_all_points() -> None:
    """Both semi-final losers have lost once; entrant 0 has the better mean of all it got."""
    given = {(1, 0): (9, 5), (2, 0): (8, 5), (3, 0): (1, 5), (1, 3): (9, 1), (1, 2): (9, 8)}
    assert tournament(4, lambda pairs: [given[pair] for pair in pairs]) == [1 / 3, 1.0, 2 / 3, 0.0]


def test_a_tie_goes_to_the_better_seed() -> None:
    assert tournament(2, lambda pairs: [(5.0, 5.0) for _ in pairs]) == [1.0, 0.0]


def test_one_alone_is_no_tournament() -> None:
    with pytest.raises(ValueError, match="two entrants"):
        tournament(1, by_strength([1.0]))


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=17, unique=True), st.randoms(use_true_random=False))
def test_rewards_move_with_the_entrants(strength: list[int], rng) -> None:
    """Entrant 0 is the one that all are seeded by and stays; the others may come in any order."""
    order = [0, *rng.sample(range(1, len(strength)), len(strength) - 1)]
    mixed = tournament(len(strength), by_strength([strength[i] for i in order]))
    plain = tournament(len(strength), by_strength(strength))
    assert mixed == [plain[i] for i in order]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=17, unique=True))
def test_matches_and_ranks(strength: list[int]) -> None:
    met: list[tuple[int, int]] = []
    rewards = tournament(len(strength), by_strength(strength, met))
    assert len(met) == 2 * (len(strength) - 1)
    assert sorted(rewards) == pytest.approx([i / (len(strength) - 1) for i in range(len(strength))])
    assert rewards[int(np.argmax(strength))] == 1.0  # a judge that always finds the stronger one
    second = sorted(strength)[-2]
    assert math.isclose(rewards[strength.index(second)], 1 - 1 / (len(strength) - 1))  # seeded apart from the best


def test_ranks_take_the_place_of_outcomes() -> None:
    table = TurnTable.from_arrays(
        ids=["a", "b", "c"],
        group=["g", "g", "h"],
        length=[2, 1, 1],
        reward=[0.5, 0.5, 0.0, 7.0],
        scores={"arena": [0.0, 0.0, 1.0, 7.0]},
    )
    found = assign(table, rewards=["arena"], credit="grpo").table
    assert found.outcome.tolist() == [0.0, 1.0, 7.0]
    assert found.reward.tolist() == [0.5, -0.5, 1.0, 7.0]
