"""Proximal sources: each gives the old logprobs it promises, and keeps what the sampler said."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl.errors import UserError
from agentrl.trainers.batching import Sample
from agentrl.trainers.proximal import Proximal, holding
from agentrl.trainers.recipe import LossConfig, OptimConfig
from agentrl.trainers.update import Learner


def model(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, intermediate_size=48, max_position_embeddings=64, **sizes))


def exact(net: nn.Module, ids: np.ndarray) -> np.ndarray:
    """Logprobs [L] of every id after those before it; 0 for the first."""
    with torch.no_grad():
        logits = net(torch.from_numpy(ids)[None].long()).logits[0]
    logp = torch.log_softmax(logits.float(), -1)
    return np.concatenate([[0.0], logp[torch.arange(len(ids) - 1), torch.from_numpy(ids[1:]).long()].numpy()])


def sample(net: nn.Module, seed: int, lag: int | list[int] = 0) -> Sample:
    """Ten ids of which the last six are trained, sampled (so it says) by ``net``."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, 64, 10).astype(np.int32)
    weight = (np.arange(10) >= 4).astype(np.float32)
    columns = {"lag": np.broadcast_to(np.asarray(lag, np.float32), 10) * weight}
    turn = np.where(weight > 0, seed, -1).astype(np.int32)
    logprobs = (exact(net, ids) * weight).astype(np.float32)
    return Sample(ids, weight, logprobs, weight.copy(), turn, seed, columns)


def learner(old: str, staleness: int = 0, **more: float) -> Learner:
    loss = LossConfig(old=old, max_logprob_gap=1e-3, **more)  # type: ignore[arg-type]
    return Learner(model(), OptimConfig(lr=1e-2), loss, staleness=staleness)


def prepared(made: Learner, samples: list[Sample]) -> list[Sample]:
    made.proximal.prepare(samples, made.score)
    return samples


@pytest.mark.parametrize("old", ["sampler", "recompute", "snapshot", "ema", "interpolate"])
def test_without_lag_every_source_is_the_sampler_up_to_rounding(old: str) -> None:
    made = learner(old)
    for one in prepared(made, [sample(made.model, seed) for seed in range(3)]):
        np.testing.assert_allclose(one.old_logprobs, one.columns.get("sampler", one.old_logprobs), atol=1e-5)
    assert made.update([sample(made.model, seed) for seed in range(3)], 0)["logprob_gap"] < 1e-5


def test_recompute_is_the_present_weights_whatever_sampled() -> None:
    made, other = learner("recompute"), model(7)
    (one,) = prepared(made, [sample(other, 1, lag=2)])
    np.testing.assert_allclose(one.old_logprobs[4:], exact(made.model, one.ids)[4:], atol=1e-5)
    np.testing.assert_allclose(one.columns["sampler"][4:], exact(other, one.ids)[4:], atol=1e-5)
    assert not one.old_logprobs[:4].any()


def test_snapshot_scores_each_token_by_the_version_that_sampled_it() -> None:
    made = learner("snapshot", staleness=3)
    weights = [copy.deepcopy(made.model)]
    for _ in range(3):
        made.update([sample(weights[0], seed, lag=len(weights) - 1) for seed in range(3)], 0)
        weights.append(copy.deepcopy(made.model))
    lag = [0, 0, 0, 0, 3, 3, 1, 1, 0, 0]
    (one,) = prepared(made, [sample(model(9), 5, lag)])
    for at in range(4, 10):
        assert one.old_logprobs[at] == pytest.approx(exact(weights[3 - lag[at]], one.ids)[at], abs=1e-4)
    assert sorted(made.proximal.weights) == [0, 1, 2, 3]
    made.update([sample(made.model, 5)], 0)
    assert sorted(made.proximal.weights) == [1, 2, 3, 4]  # no rollout may be older


def test_ema_is_the_mean_of_the_weights_of_all_updates() -> None:
    made = learner("ema", ema_decay=0.75)
    mean = {name: p.detach().clone() for name, p in made.model.named_parameters()}
    for _ in range(2):
        made.update([sample(made.model, seed) for seed in range(3)], 0)
        mean = {name: 0.75 * mean[name] + 0.25 * p.detach() for name, p in made.model.named_parameters()}
    net = copy.deepcopy(made.model)
    with holding(net, mean):
        want = exact(net, sample(net, 1).ids)
    (one,) = prepared(made, [sample(made.model, 1, lag=1)])
    np.testing.assert_allclose(one.old_logprobs[4:], want[4:], atol=1e-4)


def test_interpolate_lies_between_sampler_and_present_by_the_lag_of_each_token() -> None:
    made, other = learner("interpolate"), model(7)
    lag = [0, 0, 0, 0, 0, 1, 2, 3, 0, 4]
    one = sample(other, 1, lag)
    from agentrl.trainers.batching import padded

    (batch,) = padded([one], 100)
    rows = made._rows(batch)
    share = np.array(lag[4:]) / (np.array(lag[4:]) + 1)
    want = (1 - share) * exact(other, one.ids)[4:] + share * exact(made.model, one.ids)[4:]
    np.testing.assert_allclose(rows.old_logprobs.numpy(), want, atol=1e-4)


def test_the_gap_is_taken_of_what_does_not_lag() -> None:
    made = learner("sampler")
    assert "logprob_gap" not in made.update([sample(model(7), 1, lag=1)], 0)
    mixed = made.update([sample(made.model, 1), sample(model(7), 2, lag=2)], 0)
    assert mixed["logprob_gap"] < 1e-5


def test_what_lags_is_compared_with_the_weights_that_sampled_it() -> None:
    made = learner("sampler", staleness=2)
    weights = [copy.deepcopy(made.model)]
    for _ in range(2):
        made.update([sample(made.model, seed) for seed in range(3)], 0)
        weights.append(copy.deepcopy(made.model))
    told = made.update([sample(weights[1], 1, lag=1), sample(model(7), 2, lag=2)], 0)  # the newest version alone counts
    assert told["logprob_gap"] < 1e-5
    with pytest.raises(UserError, match="sampler and trainer disagree"):
        made.update([sample(model(7), 1, lag=2), sample(model(7), 2, lag=1)], 0)


def test_versions_whose_weights_are_gone_are_not_compared() -> None:
    made = learner("snapshot", staleness=1)
    made.proximal.version = 5  # as after a resume
    made.proximal.weights = {5: made.proximal.weights[0]}
    one = sample(model(7), 1, lag=1)
    assert "logprob_gap" not in made.update([one], 0)
    np.testing.assert_array_equal(one.old_logprobs, one.columns["sampler"])


def test_a_borrowed_model_gets_its_own_weights_back() -> None:
    net = model()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    other = {name: p.detach() + 1 for name, p in net.named_parameters()}
    with holding(net, other):
        assert all(torch.equal(p, other[name]) for name, p in net.named_parameters())
    assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())


@pytest.mark.parametrize("old", ["snapshot", "ema"])
def test_what_a_source_remembers_survives_a_checkpoint(old: str) -> None:
    made = learner(old)
    made.update([sample(made.model, seed) for seed in range(3)], 0)
    again = Proximal(made.proximal.source, model(3))
    again.load(copy.deepcopy(made.proximal.state()))
    assert again.version == 1
    pairs = [(made.proximal.mean, again.mean), *((kept, again.weights[v]) for v, kept in made.proximal.weights.items())]
    assert sum(map(len, (kept for kept, _ in pairs))) == len(list(made.model.named_parameters()))
    for kept, loaded in pairs:
        assert all(torch.equal(kept[name], loaded[name]) for name in kept)
