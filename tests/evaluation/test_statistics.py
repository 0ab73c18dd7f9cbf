"""Intervals and unbiased estimates against sums over all possibilities, and against simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.evaluation.statistics import bootstrap, clustered, pass_at, pass_hat, sign_flip, tasks_needed, wilson


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_and_pass_hat_are_means_over_all_choices_of_attempts(case: tuple[int, int, int]) -> None:
    n, c, k = case
    chosen = [[i < c for i in some] for some in combinations(range(n), k)]
    assert pass_at(k, c, n) == pytest.approx(np.mean([any(some) for some in chosen]))
    assert pass_hat(k, c, n) == pytest.approx(np.mean([all(some) for some in chosen]))


def test_wilson_of_known_values() -> None:
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_clustered_is_wider_where_attempts_agree() -> None:
    agree = {str(i): [float(i % 2)] * 8 for i in range(40)}
    differ = {str(i): [0.0, 1.0] * 4 for i in range(40)}
    low, high = clustered(agree)
    assert high - low > 0.25
    assert clustered(differ) == (0.5, 0.5)


def test_the_bootstrap_covers_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(300):
        low, high = bootstrap((rng.random(60) < 0.4).astype(float), draws=400, seed=seed)
        hits += low <= 0.4 <= high
    assert 0.89 <= hits / 300 <= 0.99


def test_sign_flip_is_mcnemars_exact_test_for_single_attempts() -> None:
    assert sign_flip(np.array([1.0] * 8 + [-1.0] * 2 + [0.0] * 90)) == pytest.approx(0.109375)
    assert sign_flip(np.zeros(5)) == 1.0
    assert sign_flip(np.array([1.0, -1.0])) == 1.0


def test_sign_flip_with_shares_agrees_with_the_normal_approximation() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.1, 0.5, 100)
    z = abs(d.sum()) / np.sqrt((d**2).sum())
    normal = math.erfc(z / math.sqrt(2))
    assert sign_flip(d) == pytest.approx(normal, abs=0.01)


def test_as_many_tasks_as_needed_give_the_power_that_is_promised() -> None:
    rng = np.random.default_rng(2)
    draw = lambda n: rng.choice([-1.0, 0.0, 1.0], n, p=[0.15, 0.55, 0.3])  # noqa: E731
    needed = tasks_needed(draw(100_000))
    assert needed is not None
    found = np.mean([sign_flip(draw(needed)) < 0.05 for _ in range(300)])
    assert 0.7 <= found <= 0.9
    assert tasks_needed(np.zeros(9)) is None
