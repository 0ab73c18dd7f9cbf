"""GAE: its limits, and the token form against the turn form."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.trainers.credit.gae import gae_token, gae_turn, whitened_tokens

steps = st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=8)
shares = st.floats(0, 1)


@given(steps, shares, shares, st.floats(-2, 2))
def test_turns_against_the_sum_of_discounted_errors(
    episode: list[tuple[float, float]], gamma: float, lam: float, bootstrap: float
) -> None:
    rewards, values = zip(*episode, strict=True)
    advantages, returns = gae_turn(rewards, values, gamma, lam, bootstrap)
    after = [*values[1:], bootstrap]
    errors = [r + gamma * nxt - v for r, v, nxt in zip(rewards, values, after, strict=True)]
    for t in range(len(errors)):
        assert advantages[t] == pytest.approx(sum((gamma * lam) ** k * e for k, e in enumerate(errors[t:])), abs=1e-9)
    np.testing.assert_allclose(returns, advantages + values)


@given(steps, shares, shares, st.data())
def test_tokens_that_were_not_sampled_change_nothing(
    episode: list[tuple[float, float]], gamma: float, lam: float, data: st.DataObject
) -> None:
    gaps = data.draw(st.lists(st.integers(0, 3), min_size=len(episode), max_size=len(episode)))
    rewards: list[float] = []
    values: list[float] = []
    mask: list[int] = []
    for (r, v), gap in zip(episode, gaps, strict=True):
        rewards += [99.0] * gap + [r]
        values += [-99.0] * gap + [v]
        mask += [0] * gap + [1]
    advantages, returns = gae_token([rewards], [values], [mask], gamma, lam)
    on = np.array(mask, bool)
    expected, to_go = gae_turn(*zip(*episode, strict=True), gamma=gamma, lam=lam)
    np.testing.assert_allclose(advantages[0, on], expected, atol=1e-9)
    np.testing.assert_allclose(returns[0, on], to_go, atol=1e-9)
    assert not advantages[0, ~on].any()
    assert not returns[0, ~on].any()


def test_a_truncated_episode_is_not_a_terminated_one() -> None:
    assert gae_turn([0.0], [0.0], bootstrap=1.0)[0].tolist() == [1.0]
    assert gae_turn([0.0], [0.0])[0].tolist() == [0.0]
    assert gae_turn([], [])[0].tolist() == []


def test_whitened_over_sampled_tokens_only() -> None:
    mask = [[1, 1, 0], [1, 0, 0]]
    found = whitened_tokens(np.array([[1.0, 2.0, 50.0], [3.0, 0.0, 0.0]]), mask)
    np.testing.assert_allclose(found, [[-1, 0, 0], [1, 0, 0]], atol=1e-7)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="one value a reward"):
        gae_turn([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="equal shape"):
        gae_token([[1.0]], [[1.0]], [[1, 1]])
