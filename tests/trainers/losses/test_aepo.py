"""AEPO's loss beside PPO's, and its advantages where the entropies say nothing. Published numbers: tests/cases."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentrl.trainers.credit.aepo import entropy_aware
from agentrl.trainers.losses.aepo import kept_clip
from agentrl.trainers.losses.ppo import clip

numbers = st.floats(-3, 3)


@given(numbers, numbers, st.none() | st.floats(1.5, 5))
def test_the_value_is_ppo_and_the_gradient_survives_above_the_clip(gap: float, gain: float, dual: float | None) -> None:
    gradients = []
    for loss in (clip, kept_clip):
        new = torch.tensor([gap], dtype=torch.float64, requires_grad=True)
        value = loss(torch.exp(new), torch.tensor([gain], dtype=torch.float64), 0.8, 1.28, dual)
        value.sum().backward()
        gradients.append((float(value.detach()), float(new.grad)))
    (ppo, ppo_slope), (aepo, aepo_slope) = gradients
    assert np.isclose(ppo, aepo, atol=1e-12)
    kept = gain > 0 and np.exp(gap) > 1.28
    assert np.isclose(aepo_slope, -gain * 1.28 if kept else ppo_slope, atol=1e-12)


def test_equal_entropies_leave_the_advantages_alone() -> None:
    gain = np.array([1.0, -1.0, 2.0])
    assert entropy_aware(gain, [0.7] * 3).tolist() == gain.tolist()
    assert entropy_aware(gain[:1], [0.7]).tolist() == [1.0]
    assert entropy_aware([], []).tolist() == []


def test_a_token_of_higher_entropy_counts_more() -> None:
    found = entropy_aware([1.0, 1.0], [0.0, 2.0], weight=0.5)
    np.testing.assert_allclose(found, [1 - 0.5 / np.sqrt(2), 1 + 0.5 / np.sqrt(2)])
