"""Branching rules: published numbers are in tests/cases; here against frequencies, limits and nonsense."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.credit.branching import (
    aepo_decide,
    arpo_decide,
    arpo_prob,
    arpo_reward,
    branch_round,
    paper_decide,
    seg_entropy,
)


def test_entropy_of_uniform_tokens_is_one_each() -> None:
    uniform = [[math.log(0.25)] * 4]
    assert seg_entropy(uniform * 3, 4) == pytest.approx(3.0)
    assert seg_entropy(uniform * 3, 4, mode="mean_tail") == pytest.approx(1.0)
    assert seg_entropy(uniform * 30, 4, first_k=20) == pytest.approx(20.0)
    assert seg_entropy([], 4) == seg_entropy([], 4, mode="mean_tail") == 0.0


def test_the_tail_is_what_the_top_leaves_over() -> None:
    half = [[math.log(0.5)]]
    assert seg_entropy(half, 2) == pytest.approx(0.5)
    assert seg_entropy(half, 2, mode="mean_tail") == pytest.approx(1.0)
    assert seg_entropy([[0.0, -math.inf]], 2, mode="mean_tail") == 0.0


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=30))
def test_the_mean_with_tail_is_at_most_the_true_entropy(weights: list[float]) -> None:
    p = np.sort(np.array(weights) / sum(weights))[::-1]
    true = float(-(p * np.log(p)).sum()) / math.log(len(p))
    assert seg_entropy([np.log(p[:10]).tolist()], len(p), mode="mean_tail") <= true + 1e-9


@pytest.mark.parametrize("bad", [[[math.nan]], [[-1.0], [0.5]]])
def test_entropy_of_nonsense(bad: list[list[float]]) -> None:
    with pytest.raises(UserError, match=f"token {len(bad) - 1} of the segment"):
        seg_entropy(bad, 10)
    with pytest.raises(UserError, match="did you mean 'mean_tail'"):
        seg_entropy([], 10, mode="mean_tial")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="vocab >= 2"):
        seg_entropy([], 1)


@given(st.floats(-6, 6), st.floats(0.05, 0.95), st.floats(0, 1))
def test_arpo_branches_as_often_as_it_says(dh: float, b: float, w: float) -> None:
    draws = (np.arange(1000) + 0.5) / 1000
    share = float(np.mean([arpo_decide(float(u), dh, b, w) for u in draws]))
    assert share == pytest.approx(arpo_prob(dh, b, w), abs=2e-3)


@given(st.floats(-3, 3), st.integers(0, 25), st.floats(0.05, 0.95))
def test_aepo_branches_less_after_branching(dh: float, c: int, b: float) -> None:
    draws = (np.arange(1000) + 0.5) / 1000
    share = float(np.mean([aepo_decide(float(u), dh, c, b, 0.2) for u in draws]))
    factor = max(0.0, 1 - 0.05 * c)
    expected = min(1.0, max(0.0, 1 - b / factor + 0.2 * dh)) if factor else 0.0
    assert share == pytest.approx(expected, abs=2e-3)


def test_a_gap_that_is_nan_is_not_a_decision() -> None:
    rules: list[Callable[[], object]] = [
        lambda: arpo_decide(0.5, math.nan),
        lambda: arpo_prob(math.nan),
        lambda: aepo_decide(math.nan, 0.0),
    ]
    for rule in rules:
        with pytest.raises(UserError, match="nan"):
            rule()


def test_the_paper_rule_is_strict_and_its_penalty_linear() -> None:
    assert paper_decide(0.0, 0.5, 1.0, 0.5) == (0.5, False)
    assert paper_decide(0.0, 0.6, 1.0, 0.5, consecutive=1, penalty=0.1) == (pytest.approx(0.54), True)
    assert paper_decide(0.0, 0.6, 1.0, 0.5, consecutive=30, penalty=0.1) == (0.0, False)


def test_a_round_never_passes_the_limit_and_asks_for_each_draw_by_name() -> None:
    asked: list[tuple[int, int]] = []

    def draw(rollout: int, attempt: int) -> float:
        asked.append((rollout, attempt))
        return 0.0

    assert branch_round([7, 3], lambda rollout, u: True, draw, count=4, limit=7, beam=3) == [7, 7, 3]
    assert asked == [(7, 0), (7, 1), (3, 0)]
    assert branch_round([7], lambda rollout, u: True, draw, count=9, limit=7, beam=3) == []
    assert branch_round([7], lambda rollout, u: True, draw, count=1, limit=7, beam=1) == []


def test_attempts_are_fixed_when_a_rollout_is_entered() -> None:
    attempts: list[int] = []
    branch_round([1], lambda rollout, u: bool(attempts.append(1)), lambda r, a: 0.0, count=0, limit=2, beam=9)
    assert len(attempts) == 2


def test_reward() -> None:
    assert arpo_reward(0.8, False, {"search", "python"}) == -1.0
    assert arpo_reward(0.8, True, {"search", "python"}) == pytest.approx(0.9)
    assert arpo_reward(0.8, True, {"search"}) == 0.8
    assert arpo_reward(0.0, True, {"search", "python"}) == 0.0
