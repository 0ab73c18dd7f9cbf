"""PPO's clip, k3 and the aggregation modes against numbers and plain references."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.batching import Sample
from agentrl.trainers.losses.aggregate import MODES, set_weights
from agentrl.trainers.losses.kl import k3
from agentrl.trainers.losses.ppo import clip

CASES = json.loads((Path(__file__).parents[2] / "cases" / "ppo_loss.json").read_text())["cases"]
# The names of the cases in ours. The last one divides by the padded width: sequence-sum with constant = width / rows.
NAMES = {
    "token-mean": "token",
    "seq-mean-token-sum": "sequence-sum",
    "seq-mean-token-mean": "sequence",
    "seq-mean-token-sum-norm": "sequence-sum",
}


def sample(turn, trajectory):
    turn = np.asarray(turn, np.int32)
    zeros = np.zeros(len(turn), np.float32)
    return Sample(np.zeros(len(turn), np.int32), (turn >= 0).astype(np.float32), zeros, zeros, turn, trajectory)


@pytest.mark.parametrize("case", [c for c in CASES if c["op"] == "ppo_agg"], ids=lambda c: c["id"])
def test_aggregation_cases(case):
    loss, mask = np.array(case["input"]["loss"], float), np.array(case["input"]["mask"])
    mode = case["input"]["mode"]
    chosen = [sample(np.where(row, i, -1), i) for i, row in enumerate(mask)]
    set_weights(chosen, NAMES[mode], mask.shape[1] / len(mask) if mode.endswith("norm") else 1.0)
    got = sum(float((s.weight * row).sum()) for s, row in zip(chosen, loss, strict=True))
    assert got == pytest.approx(case["expected"], rel=case["tolerance"])


@pytest.mark.parametrize("case", [c for c in CASES if c["op"] == "aepo_tokens"], ids=lambda c: c["id"])
def test_clip_cases(case):
    given = case["input"]
    logp = torch.tensor(given["logp"][0], dtype=torch.float64, requires_grad=True)
    old, gain = (torch.tensor(given[k][0], dtype=torch.float64) for k in ("old", "adv"))
    loss = clip(torch.exp(logp - old), gain, 1 - given["lo"], 1 + given["hi"], given["c"])
    loss.sum().backward()
    np.testing.assert_allclose(loss.detach(), case["expected"]["loss"][0], atol=case["tolerance"])
    np.testing.assert_allclose(logp.grad, case["expected"]["grad"][0], atol=case["tolerance"])


@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(0.01, 0.5), st.floats(0.01, 0.5), st.none() | st.floats(1.1, 5.0))
def test_clip_against_plain_arithmetic(gap, gain, low, high, dual):
    ratio = float(np.exp(gap))
    want = -min(ratio * gain, min(max(ratio, 1 - low), 1 + high) * gain)
    if dual is not None and gain < 0:
        want = min(want, -dual * gain)
    x, a = (torch.tensor([v], dtype=torch.float64) for v in (gap, gain))
    got = clip(torch.exp(x), a, 1 - low, 1 + high, dual)
    assert float(got) == pytest.approx(want, abs=1e-9)


def test_k3_is_never_negative_and_estimates_the_divergence():
    torch.manual_seed(0)
    p, q = (torch.log_softmax(torch.randn(50, dtype=torch.float64), -1) for _ in range(2))
    assert (k3(p, q) >= 0).all()
    assert float((p.exp() * k3(p, q)).sum()) == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-9)
    assert float(k3(torch.zeros(1), torch.zeros(1))) == 0
    assert torch.isfinite(k3(torch.tensor([-1e4, 0.0]), torch.tensor([0.0, -1e4]))).all()


TURNS = [[-1, 0, 0, -1, 1], [-1, 2, 2, 2, 2, 2], [-1, 3]]
OWNERS = [0, 0, 1]


def weights(mode, constant=1.0):
    chosen = [sample(t, o) for t, o in zip(TURNS, OWNERS, strict=True)]
    set_weights(chosen, mode, constant)
    return [s.weight.tolist() for s in chosen]


def test_weights_of_every_mode_by_hand():
    t, s = 1 / 9, 1 / 16  # nine tokens; two trajectories, the first of eight
    fifth = 1 / 4 / 5
    expected = {
        "token": [[0, t, t, 0, t], [0, t, t, t, t, t], [0, t]],
        "turn": [[0, 1 / 8, 1 / 8, 0, 1 / 4], [0, *[fifth] * 5], [0, 1 / 4]],
        "sequence": [[0, s, s, 0, s], [0, s, s, s, s, s], [0, 1 / 2]],
        "sequence-sum": [[0, 0.1, 0.1, 0, 0.1], [0, *[0.1] * 5], [0, 0.1]],
    }
    assert set(expected) == set(MODES)
    for mode, want in expected.items():
        for got, row in zip(weights(mode, 5.0), want, strict=True):
            np.testing.assert_allclose(got, row, rtol=1e-6)


@pytest.mark.parametrize("mode", [m for m in MODES if m != "sequence-sum"])
def test_weights_add_up_to_one(mode):
    assert sum(map(sum, weights(mode))) == pytest.approx(1.0, rel=1e-6)


def test_nothing_trained_weighs_nothing_and_an_unknown_mode_is_named():
    empty = [sample([-1, -1], 0)]
    for mode in MODES:
        set_weights(empty, mode)
        assert not empty[0].weight.any()
    with pytest.raises(UserError, match="did you mean 'sequence'"):
        set_weights(empty, "sequnce")
