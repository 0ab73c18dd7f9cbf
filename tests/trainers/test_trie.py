"""Tries: what is visible, what is shared, what it costs; exact on tiny models of every family that may use them."""

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM
from transformers.models.gemma import GemmaConfig
from transformers.models.gemma3 import Gemma3TextConfig
from transformers.models.llama import LlamaConfig
from transformers.models.mistral import MistralConfig
from transformers.models.mixtral import MixtralConfig
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen3 import Qwen3Config
from transformers.models.smollm3 import SmolLM3Config

from agentrl.policies.prefixes import in_order
from agentrl.trainers import attention
from agentrl.trainers.attention import Tree
from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.recipe import LossConfig, OptimConfig, ValueConfig
from agentrl.trainers.trie import build, cut
from agentrl.trainers.update import Learner
from agentrl.trainers.values import Critic

V = 48
SHAPE = tiny.SHAPE | tiny.NO_IDS | {"vocab_size": V, "initializer_range": 0.2}
WINDOWS = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
CONFIGS = {
    "llama": lambda: LlamaConfig(**SHAPE),
    "qwen2": lambda: Qwen2Config(**SHAPE),
    "qwen3": lambda: Qwen3Config(**SHAPE, head_dim=8),
    "qwen3 with windows": lambda: Qwen3Config(**SHAPE, head_dim=8, **WINDOWS),
    "mistral": lambda: MistralConfig(**SHAPE, sliding_window=7),
    "gemma": lambda: GemmaConfig(**SHAPE, head_dim=8),
    "gemma3": lambda: Gemma3TextConfig(**SHAPE, head_dim=8, sliding_window=7, sliding_window_pattern=2),
    "smollm3": lambda: SmolLM3Config(**SHAPE),
}
EXPERTS = {  # whose router computes in float32 whatever the weights are
    "mixtral": lambda: MixtralConfig(**SHAPE, num_local_experts=4, experts_implementation="eager"),
}


def model_of(kind, dtype=torch.float64, patched=True, seed=0):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config((CONFIGS | EXPERTS)[kind]()).to(dtype)
    return (tiny.exact(model) if patched else model).eval()


def sample(ids, trajectory, seed):
    rng = np.random.default_rng(seed)
    n = len(ids)
    weight = (rng.random(n) < 0.6) * rng.uniform(0.1, 1, n)
    if not weight[1:].any():
        weight[-1] = 1.0
    turn = np.where(weight > 0, trajectory, -1).astype(np.int32)
    old, gain = -rng.random(n) * 4, rng.normal(size=n)
    return Sample(np.asarray(ids, np.int32), *(x.astype(np.float32) for x in (weight, old, gain)), turn, trajectory)


@st.composite
def sequences(draw):
    """Token lists that branch from one another anywhere, are prefixes of one another, or the same."""
    made = [draw(st.lists(st.integers(0, V - 1), min_size=2, max_size=30))]
    for _ in range(draw(st.integers(0, 6))):
        stem = draw(st.sampled_from(made))
        at = draw(st.integers(0, len(stem)))
        more = draw(st.lists(st.integers(0, V - 1), min_size=2 if at < 2 else 0, max_size=12))
        made.append(stem[:at] + more)
    return [np.array(ids, np.int32) for ids in made]


@settings(max_examples=200, deadline=None)
@given(sequences())
def test_a_node_is_a_prefix_and_sees_its_own_prefixes(made):
    ordered = [made[i] for i in in_order(made)]
    tree, paths = build(ordered)
    prefixes = {tuple(s[: k + 1]) for s in made for k in range(len(s))}
    assert len(tree) == len(prefixes)
    of = {}
    for s, path in zip(ordered, paths, strict=True):
        assert [of.get(int(node), tuple(s[: k + 1])) for k, node in enumerate(path)] == [
            tuple(s[: k + 1]) for k in range(len(s))
        ]
        assert tree.depth[path].tolist() == list(range(len(s)))
        of |= {int(node): tuple(s[: k + 1]) for k, node in enumerate(path)}
    assert set(of.values()) == prefixes
    nodes = np.arange(len(tree))
    visible = (nodes[None, :] <= nodes[:, None]) & (nodes[:, None] < tree.end[None, :])
    for q in nodes:
        assert {of[k] for k in np.flatnonzero(visible[q])} == {of[q][: n + 1] for n in range(len(of[q]))}


@settings(max_examples=100, deadline=None)
@given(sequences(), st.integers(1, 60))
def test_tries_keep_to_the_budget_and_repeat_the_stem_only(made, budget):
    tries = cut(made, budget)
    assert sorted(i for chosen in tries for i in chosen) == list(range(len(made)))
    sizes = [len(build([made[i] for i in chosen])[0]) for chosen in tries]
    assert all(size <= budget or len(chosen) == 1 for size, chosen in zip(sizes, tries, strict=True))
    unique = len(build([made[i] for i in in_order(made)])[0])
    assert sum(sizes) - unique <= sum(len(made[chosen[0]]) for chosen in tries[1:])


@settings(max_examples=60, deadline=None)
@given(sequences(), st.sampled_from([None, 1, 4]))
def test_each_query_attends_to_its_path_once(made, window):
    tree, paths = build([made[i] for i in in_order(made)])
    attention_block, attention.BLOCK = attention.BLOCK, 8
    try:
        buckets, order = tree.buckets(window)
    finally:
        attention.BLOCK = attention_block
    path_of = {int(node): path[: k + 1] for path in paths for k, node in enumerate(path)}
    rows = [
        (int(q), keys[seen].tolist())
        for b in buckets
        for qs, keys, mask in zip(b.queries, b.keys, b.mask[:, 0], strict=True)
        for q, seen in zip(qs, mask, strict=True)
    ]
    for node in range(len(tree)):
        q, keys = rows[int(order[node])]
        assert q == node
        assert keys == path_of[node][0 if window is None else -window :].tolist()


def branched(seed=0, stem=40, branches=6, length=90):
    rng = np.random.default_rng(seed)
    start = rng.integers(0, V, stem)
    made = [np.concatenate([start, rng.integers(0, V, rng.integers(1, length - stem))]) for _ in range(branches)]
    made += [made[0][:50], made[1].copy(), rng.integers(0, V, 9)]
    return [sample(ids, k, k) for k, ids in enumerate(made)]


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("layout", ["trie", "packed"])
def test_exact_in_float64(kind, layout):
    model, chosen = model_of(kind), branched()
    logprobs, gradient = tiny.result(model, "padded", chosen, 1)
    for budget in (10_000, 120):
        got, by = tiny.result(model, layout, chosen, budget)
        assert (got - logprobs).abs().max() < 1e-8
        assert (by - gradient).abs().max() < 1e-12 * gradient.abs().max() + 1e-12


@pytest.mark.parametrize("kind", [*CONFIGS, *EXPERTS])
def test_exact_with_the_norm_in_float32_as_it_is(kind):
    model, chosen = model_of(kind, patched=False), branched()
    logprobs, gradient = tiny.result(model, "padded", chosen, 1)
    got, by = tiny.result(model, "trie", chosen)
    assert (got - logprobs).abs().max() < 1e-8
    assert (by - gradient).abs().max() < 1e-6 * gradient.abs().max()


@pytest.mark.parametrize("kind", [*CONFIGS, *EXPERTS])
def test_in_float32_as_close_as_two_ordinary_layouts_are(kind):
    model, chosen = model_of(kind, torch.float32, patched=False), branched(branches=8)
    alone, together, tried = (
        tiny.result(model, *how) for how in (("padded", chosen, 1), ("padded", chosen), ("trie", chosen))
    )
    for a, b, c in zip(alone, together, tried, strict=True):
        noise = max(float((a - b).abs().max()), 1e-6 * float(a.abs().max()))
        assert float((a - c).abs().max()) <= 4 * noise


@settings(max_examples=30, deadline=None)
@given(sequences(), st.integers(8, 80))
def test_any_trie_gives_what_samples_give_alone(made, budget):
    model = model_of("qwen3 with windows")
    chosen = [sample(ids, k, k) for k, ids in enumerate(made)]
    logprobs, gradient = tiny.result(model, "padded", chosen, 1)
    got, by = tiny.result(model, "trie", chosen, budget)
    assert (got - logprobs).abs().max() < 1e-8
    assert (by - gradient).abs().max() < 1e-10 * max(1.0, float(gradient.abs().max()))


@pytest.mark.parametrize("policy", ["ppo", "gspo", "bapo", "gae"])
@pytest.mark.parametrize("shape", ["branched", "windowed"])
def test_three_updates_give_the_same_weights_under_every_layout(policy, shape):
    made = []
    if shape == "branched":
        made = branched()
    else:  # every turn is a sample of its own, which begins with the end of the one before
        rng = np.random.default_rng(1)
        for episode in range(4):
            ids = rng.integers(0, V, 80)
            made += [sample(ids[k : k + 30], episode, 10 * episode + k) for k in range(0, 50, 10)]
    for s in made:
        s.turn = np.where(s.weight > 0, np.int32(s.trajectory), np.int32(-1))
        s.old_logprobs = np.full(len(s.ids), -3.9, np.float32)
        if policy == "gae":  # a critic learns beside, and half of its gradient goes on into the trunk
            targets = np.random.default_rng(s.trajectory).normal(size=len(s.ids)).astype(np.float32)
            s.columns = {"values": targets / 2, "returns": np.where(s.turn >= 0, targets, np.float32("nan"))}
    weights = {}
    for layout in BATCHERS:
        model = model_of("llama").train()
        optim = OptimConfig(batcher=layout, positions=150, minibatches=2, lr=1e-2)
        critic = Critic(ValueConfig(trunk=0.5), model) if policy == "gae" else None
        if critic is not None:
            critic.head.double()
        loss = LossConfig(policy="ppo" if policy == "gae" else policy, max_logprob_gap=99)
        learner = Learner(model, optim, loss, critic=critic)
        assert learner.batcher == layout
        for step in range(3):
            learner.update(made, step)
        learnt = [*model.parameters(), *(critic.head.parameters() if critic else ())]
        weights[layout] = torch.cat([p.detach().flatten() for p in learnt])
    start = torch.cat([p.detach().flatten() for p in model_of("llama").parameters()])
    assert (weights["padded"][: len(start)] - start).abs().max() > 1e-2
    assert policy != "gae" or weights["padded"][len(start) :].abs().min() > 1e-4
    for layout in ("packed", "trie"):
        assert (weights[layout] - weights["padded"]).abs().max() < 1e-8


def weights_after(**optim):
    model = model_of("llama", torch.float32, patched=False).train()
    learner = Learner(model, OptimConfig(positions=150, lr=1e-2, **optim), LossConfig(max_logprob_gap=99))
    found = [learner.update(branched(), step) for step in range(2)]
    return torch.cat([p.detach().flatten() for p in model.parameters()]), found[-1]


@pytest.mark.parametrize("layout", BATCHERS)
def test_checkpointing_gives_the_same_weights_bit_for_bit(layout):
    plain, _ = weights_after(batcher=layout)
    saved, _ = weights_after(batcher=layout, checkpointing=True)
    assert torch.equal(plain, saved)


def test_bfloat16_trains_float32_weights_and_stays_near():
    plain, exact = weights_after()
    half, near = weights_after(bf16=True)
    assert half.dtype == torch.float32
    assert near["entropy"] == pytest.approx(exact["entropy"], rel=0.05)
    assert not torch.equal(plain, half)
    assert torch.corrcoef(torch.stack([plain, half]))[0, 1] > 0.98


@pytest.mark.parametrize("window", [None, 5])
def test_the_rule_for_a_gpu_is_the_same_forward_in_float32(window):
    """FlexAttention runs forward on a CPU too; lengths that are no multiple of a block are filled up."""
    from torch.nn.attention.flex_attention import flex_attention

    chosen = branched()
    ordered = [chosen[i].ids for i in in_order([s.ids for s in chosen])]
    tree, _ = build(ordered)
    torch.manual_seed(0)
    length = -(-len(tree) // attention.BLOCK) * attention.BLOCK
    query, key, value = (torch.randn(1, heads, length, 16) for heads in (4, 2, 2))
    mask = tree.block_mask(length, window, query.device)
    want = flex_attention(query, key, value, block_mask=mask, enable_gqa=True)[:, :, : len(tree)]
    cut_off = [x[:, :, : len(tree)] for x in (query, key, value)]
    got, _ = attention.trie_attention(None, *cut_off, None, tree=tree, sliding_window=window)
    torch.testing.assert_close(got.transpose(1, 2), want, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", ["llama", "qwen3 with windows"])
def test_on_a_gpu(kind):
    model, chosen = model_of(kind, torch.float32, patched=False).cuda(), branched()
    alone, tried = tiny.result(model, "padded", chosen, 1), tiny.result(model, "trie", chosen)
    for a, c in zip(alone, tried, strict=True):
        torch.testing.assert_close(c, a, atol=1e-3, rtol=1e-3)


def test_a_lone_token_is_a_tree():
    tree, paths = build([np.array([5], np.int32)])
    assert (tree.end.tolist(), paths[0].tolist()) == ([1], [0])
    assert isinstance(tree, Tree)
