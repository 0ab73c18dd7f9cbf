"""VCPO's baseline by a proxy of gradient norms."""

from __future__ import annotations

import numpy as np
import pytest

from agentrl.trainers.credit import TurnTable, assign


def table(logprob: list[float], entropy: list[float], reward: list[float], tokens: list[int]) -> TurnTable:
    n = len(reward)
    return TurnTable.from_arrays(
        ids=[f"{i}" for i in range(n)],
        group=["g"] * n,
        length=[1] * n,
        reward=reward,
        logprob=logprob,
        entropy=entropy,
        tokens=tokens,
    )


def test_by_hand() -> None:
    # two even choices: p = 1/2, sum p^2 = 1/2, so 1/2 a token; W = 1 and 3
    half = float(np.log(0.5))
    made = table([half, half], [-half, -half], [1.0, 0.0], [2, 6])
    np.testing.assert_allclose(assign(made, credit="opob").advantages, [0.75, -0.25])


def test_what_was_certain_weighs_nothing() -> None:
    half = float(np.log(0.5))
    made = table([0.0, half, half], [0.0, -half, -half], [1.0, 1.0, 0.0], [9, 2, 2])
    np.testing.assert_allclose(assign(made, credit="opob").advantages, [0.5, 0.5, -0.5])
    sure = table([0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [3, 3])  # nothing weighs anything: the mean
    np.testing.assert_allclose(assign(sure, credit="opob").advantages, [0.5, -0.5])


def test_a_lone_trajectory() -> None:
    one = table([-1.0], [1.0], [2.0], [3])
    assert assign(one, credit="opob").advantages == pytest.approx([0.0])
    assert assign(one, credit={"opob": {"singleton": "raw"}}).advantages == pytest.approx([2.0])


def test_the_proxy_is_never_above_the_squared_norm() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        probs = rng.dirichlet(np.full(5, 0.5))
        token = rng.choice(5, p=probs)
        entropy = -(probs * np.log(probs.clip(1e-300))).sum()
        exact = ((np.eye(5)[token] - probs) ** 2).sum()
        p = probs[token]
        assert 1 - 2 * p + max(p**2, np.exp(-entropy)) <= exact + 1e-12
