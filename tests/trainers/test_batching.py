"""Batches give what one forward a sample gives: logprobs, entropies, gradients, under any layout and any budget."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from agentrl.errors import UserError
from agentrl.trainers import batching
from agentrl.trainers.batching import BATCHERS, Sample, samples_of
from agentrl.trainers.losses.aggregate import MODES, set_weights
from agentrl.trainers.losses.ppo import clip
from agentrl.types import Task, Trajectory, Turn

V = 64
SHAPE = tiny.SHAPE | {"vocab_size": V, "initializer_range": 0.2}
MAKE = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SHAPE)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SHAPE)),
}
OTHERS = {
    "mistral": lambda: MistralForCausalLM(MistralConfig(**SHAPE | {"sliding_window": 6})),
    "gemma2": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SHAPE | {"head_dim": 8, "sliding_window": 6, "final_logit_softcapping": 1.5})
    ),
}


def model_of(make, dtype=torch.float64):
    torch.manual_seed(0)
    return tiny.exact(make().to(dtype))


@pytest.fixture(scope="module", params=MAKE)
def model(request):
    return model_of(MAKE[request.param])


def samples(seed=0, n=7, low=3, high=30):
    """Samples of ragged length, some of the same trajectory, with several turns each."""
    rng = np.random.default_rng(seed)
    made, turns = [], 0
    for i in range(n):
        length = int(rng.integers(low, high))
        turn = np.full(length, -1, np.int32)
        for start in range(1, length, 6):
            turn[start : start + 3] = turns
            turns += 1
        ids, old = rng.integers(0, V, length), np.where(turn >= 0, -4 - rng.random(length), 0)
        gain = np.where(turn >= 0, rng.normal(size=length), 0)
        made.append(
            Sample(
                ids.astype(np.int32),
                (turn >= 0).astype(np.float32),
                old.astype(np.float32),
                gain.astype(np.float32),
                turn,
                i // 2,
            )
        )
    return made


def naive(model, sample, temperature=1.0):
    """Log-probability and entropy of every trained token, by the model's own forward over this sample alone."""
    logits = model(input_ids=torch.from_numpy(sample.ids.astype(np.int64))[None]).logits[0, :-1] / temperature
    logp = torch.log_softmax(logits, -1)
    where = torch.from_numpy(np.flatnonzero(sample.weight[1:]))
    entropy = -(logp.exp() * logp).sum(-1)
    return logp[where, torch.from_numpy(sample.ids[1:].astype(np.int64))[where]], entropy[where]


def loss_of(rows):
    return (rows.weight * clip(rows.ratio, rows.advantages, 0.8, 1.2, 3.0)).sum()


def gradient(model, loss):
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def batched_gradient(model, chosen, layout, budget):
    return gradient(model, sum(loss_of(batch.forward(model)) for batch in BATCHERS[layout](chosen, budget)))


def naive_gradient(model, chosen):
    total = 0.0
    for s in chosen:
        on = np.flatnonzero(s.weight[1:]) + 1
        logprobs = naive(model, s)[0]
        old, gain, weight = (torch.from_numpy(a[on]) for a in (s.old_logprobs, s.advantages, s.weight))
        total = total + (weight * clip(torch.exp(logprobs - old), gain, 0.8, 1.2, 3.0)).sum()
    return gradient(model, total)


def rows_by_sample(batches, chosen, model, **more):
    """Rows in a fixed order: what each batch says of its targets, sorted by the old logprobs that name them."""
    rows = [batch.forward(model, **more) for batch in batches]
    parts = [torch.cat([getattr(r, name) for r in rows]) for name in ("old_logprobs", "logprobs", "entropies")]
    order = parts[0].argsort()
    return [part[order].detach() for part in parts]


@pytest.mark.parametrize("layout", BATCHERS)
@pytest.mark.parametrize("budget", [1, 40, 10_000])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_entropies_are_those_of_one_forward_a_sample(model, layout, budget, temperature):
    chosen = samples()
    old, logprobs, entropies = rows_by_sample(BATCHERS[layout](chosen, budget), chosen, model, temperature=temperature)
    each = [naive(model, s, temperature) for s in chosen]
    names = torch.from_numpy(np.concatenate([s.old_logprobs[np.flatnonzero(s.weight)] for s in chosen]))
    order = names.argsort()
    torch.testing.assert_close(old, names[order])
    for got, want in zip((logprobs, entropies), zip(*each, strict=True), strict=True):
        torch.testing.assert_close(got, torch.cat(want)[order].detach(), atol=1e-10, rtol=0)


@pytest.mark.parametrize("layout", BATCHERS)
@pytest.mark.parametrize("mode", MODES)
def test_the_gradient_is_the_same_under_any_cut_and_layout(model, mode, layout):
    chosen = samples()
    set_weights(chosen, mode, constant=5.0)
    want = naive_gradient(model, chosen)
    assert want.abs().max() > 1e-3
    for budget in (1, 25, 60, 100_000):
        got = batched_gradient(model, chosen, layout, budget)
        assert (got - want).abs().max() < 1e-8 * max(1.0, float(want.abs().max()))


def test_chunks_of_logits_change_nothing(model, monkeypatch):
    chosen = samples()
    set_weights(chosen, "token")
    want = batched_gradient(model, chosen, "padded", 10_000)
    monkeypatch.setattr(batching, "LOGITS_PER_CHUNK", 5 * V)
    got = batched_gradient(model, chosen, "padded", 10_000)
    assert (got - want).abs().max() < 1e-10


@pytest.mark.parametrize("layout", BATCHERS)
def test_layers_with_windows(layout):
    model = model_of(OTHERS["mistral"], torch.float32).eval()
    chosen = samples(low=10)
    _old, logprobs, _ = rows_by_sample(BATCHERS[layout](chosen, 60), chosen, model)
    want = torch.cat([naive(model, s)[0] for s in chosen]).detach()
    names = torch.from_numpy(np.concatenate([s.old_logprobs[np.flatnonzero(s.weight)] for s in chosen]))
    torch.testing.assert_close(logprobs, want[names.argsort()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("layout", BATCHERS)
def test_attention_that_has_more_to_it_is_refused_and_the_model_left_as_it_was(layout):
    model = model_of(OTHERS["gemma2"], torch.float32).eval()
    chosen = samples(low=10)
    if layout != "padded":
        with pytest.raises(UserError, match="softcap: set optim"):
            BATCHERS[layout](chosen, 60)[0].forward(model)
    _old, logprobs, _ = rows_by_sample(BATCHERS["padded"](chosen, 60), chosen, model)
    want = torch.cat([naive(model, s)[0] for s in chosen]).detach()
    names = torch.from_numpy(np.concatenate([s.old_logprobs[np.flatnonzero(s.weight)] for s in chosen]))
    torch.testing.assert_close(logprobs, want[names.argsort()], atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", BATCHERS)
def test_logprobs_are_at_least_float32(dtype, layout):
    rows = BATCHERS[layout](samples(), 100)[0].forward(model_of(MAKE["llama"], dtype))
    assert rows.logprobs.dtype == torch.float32
    assert torch.isfinite(rows.logprobs).all()


@pytest.mark.parametrize("layout", BATCHERS)
def test_what_was_not_sampled_is_not_in_the_loss(model, layout):
    """Another target, another logprob or another advantage on an observation token changes nothing at all."""
    chosen, other = samples(), samples()
    for s in (*chosen, *other):
        s.weight = (s.turn >= 0).astype(np.float32)
    for s in other:
        off = s.turn < 0
        s.old_logprobs[off], s.advantages[off] = -99.0, 77.0
    for a, b in zip(BATCHERS[layout](chosen, 50), BATCHERS[layout](other, 50), strict=True):
        assert torch.equal(loss_of(a.forward(model)), loss_of(b.forward(model)))
    # The logits where the next token was not sampled get no gradient; where it was, they do.
    seen = []
    hook = model.get_output_embeddings().register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    batch = BATCHERS[layout](chosen, 100_000)[0]
    rows = batch.forward(model)
    hook.remove()
    assert len(seen[0][1]) == len(batch.targets) <= sum(int(s.weight[1:].sum()) for s in chosen) == len(rows.logprobs)
    index = torch.arange(len(batch.targets)) if batch.index is None else batch.index
    before = np.concatenate([sample.ids[where - 1] for sample, where in batch.placed])
    assert batch.input_ids.flatten()[batch.at][index].tolist() == before.tolist()
    assert batch.targets[index].tolist() == np.concatenate([s.ids[where] for s, where in batch.placed]).tolist()


def test_the_last_observation_changes_no_gradient(model):
    """Ids after the last sampled token are seen by nobody."""
    (s,) = samples(n=1, low=20, high=21)
    last = int(np.flatnonzero(s.weight).max())
    other = Sample(s.ids.copy(), s.weight, s.old_logprobs, s.advantages, s.turn, 0)
    other.ids[last + 1 :] = (other.ids[last + 1 :] + 1) % V
    assert torch.equal(batched_gradient(model, [s], "padded", 99), batched_gradient(model, [other], "padded", 99))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=15), st.integers(1, 90), st.sampled_from(sorted(BATCHERS)))
def test_batches_keep_to_their_budget_and_lose_no_sample(lengths, budget, layout):
    chosen = []
    for i, n in enumerate(lengths):
        ids = np.full(n, i, np.int32)
        zeros = np.zeros(n, np.float32)
        chosen.append(Sample(ids, np.ones(n, np.float32), zeros, zeros, np.zeros(n, np.int32), i))
    batches = BATCHERS[layout](chosen, budget)
    assert sum(b.tokens for b in batches) == sum(lengths)
    for batch in batches:
        assert batch.input_ids.numel() <= max(budget, *lengths)
        assert torch.equal(batch.input_ids.flatten()[batch.at], batch.targets)  # every sample is one id repeated
    counted = {int(sample.ids[0]): len(where) for b in batches for sample, where in b.placed}
    assert counted == {i: n - 1 for i, n in enumerate(lengths)}
    assert sum(len(b.given.weight) for b in batches) == sum(lengths) - len(lengths)


def test_a_batch_without_trained_tokens_gives_no_gradient(model):
    (s,) = samples(n=1)
    s.weight = np.zeros_like(s.weight)
    assert not batched_gradient(model, [s], "padded", 99).any()


def turn(prompt, completion, **more):
    n = len(completion)
    return Turn(
        "o",
        prompt_ids=prompt,
        completion_ids=completion,
        logprobs=-np.arange(1.0, n + 1),
        entropies=np.zeros(n),
        versions=[(0, 0)],
        **more,
    )


def test_samples_follow_segments_and_provenance():
    first = [turn([1, 2], [3]), turn([1, 2, 3, 4], [5, 6]), turn([9], [8])]
    second = [Turn("scripted"), turn([1], [2], trainable=False), turn([1, 2, 7], [4])]
    trajectories = [Trajectory(str(i), Task("E-v0", 0), 0, turns) for i, turns in enumerate((first, second))]
    gain = np.array([0.5, -1.0, 2.0, 9.0, 9.0, -3.0])
    made = samples_of(trajectories, gain, [0, 3])
    assert [s.ids.tolist() for s in made] == [[1, 2, 3, 4, 5, 6], [9, 8], [1, 2, 7, 4]]
    assert [s.turn.tolist() for s in made] == [[-1, -1, 0, -1, 1, 1], [-1, 2], [-1, -1, -1, 5]]
    assert [s.advantages.tolist() for s in made] == [[0, 0, 0.5, 0, -1, -1], [0, 2], [0, 0, 0, -3]]
    assert [s.weight.tolist() for s in made] == [[0, 0, 1, 0, 1, 1], [0, 1], [0, 0, 0, 1]]
    assert made[0].old_logprobs.tolist() == [0, 0, -1, 0, -1, -2]
    assert [s.trajectory for s in made] == [0, 0, 1]
    assert not any(s.columns["lag"].any() for s in made)


def test_tokens_lag_behind_the_trainer_one_by_one():
    one, two = turn([1, 2], [3, 4, 5]), turn([1, 2, 3, 4, 5, 6], [7])
    one.versions, two.versions = [(0, 3), (2, 5)], [(0, 5)]
    (made,) = samples_of([Trajectory("a", Task("E-v0", 0), 0, [one, two])], np.zeros(2), [0], version=6)
    assert made.columns["lag"].tolist() == [0, 0, 3, 3, 1, 0, 1]
