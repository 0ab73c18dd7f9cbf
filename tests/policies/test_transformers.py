"""The batched policy against plain forwards of the same tiny models: equal whatever runs beside a request."""

import asyncio

import numpy as np
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from agentrl.policies.base import Policy, Request
from agentrl.policies.transformers import TransformersPolicy
from agentrl.trainers.models import train_tokenizer

V = 64
SHAPE = {
    "vocab_size": V,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 512,
    "initializer_range": 0.4,
    "bos_token_id": None,
    "pad_token_id": None,
    "eos_token_id": 63,
}


def llama(**more):
    return LlamaForCausalLM(LlamaConfig(**SHAPE | {"num_key_value_heads": 1} | more))


def qwen2(**more):
    return Qwen2ForCausalLM(Qwen2Config(**SHAPE | {"num_key_value_heads": 2} | more))


def mistral(**more):
    return MistralForCausalLM(MistralConfig(**SHAPE | {"num_key_value_heads": 2, "sliding_window": 8} | more))


def gemma2(**more):
    caps = {"final_logit_softcapping": 2.0, "sliding_window": 8, "head_dim": 8, "num_key_value_heads": 2}
    return Gemma2ForCausalLM(Gemma2Config(**SHAPE | caps | more))


def gpt2(**more):
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=V, n_embd=32, n_layer=2, n_head=4, n_positions=64, eos_token_id=63, initializer_range=0.4)
    )


class Letters:
    """A tokenizer of single characters: id i is the i-th printable one."""

    eos_token_id = 63

    def __len__(self):
        return V

    def decode(self, ids, **_):
        return "".join(chr(48 + int(i)) for i in ids)

    def batch_decode(self, rows):
        return [self.decode(row) for row in rows]


def policy_of(make=llama, seed=0, dtype=torch.float64, **more):
    torch.manual_seed(seed)
    return TransformersPolicy(make().to(dtype), Letters(), **{"slots": 8, "window": 256} | more)


def reference(policy, prompt, ids, temperature=1.0):
    """Log-probabilities and entropies by one forward over everything."""
    torch.manual_seed(0)
    whole = torch.tensor([[*prompt, *ids]])
    with torch.no_grad():
        logits = policy.model(input_ids=whole, use_cache=False).logits[0, len(prompt) - 1 : -1].double()
    logp = torch.log_softmax(logits / temperature, -1)
    return logp.gather(-1, torch.tensor(ids)[:, None].long())[:, 0].numpy(), -(logp.exp() * logp).sum(-1).numpy()


def ask(prompt, seed=0, n=8, **more):
    return Request(np.asarray(prompt, np.int32), n, seed, **more)


def generate(policy, requests):
    async def all_of():
        return await asyncio.gather(*(policy.generate(r) for r in requests))

    return asyncio.run(all_of())


def prompts(n, low=1, high=60, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 60, rng.integers(low, high)).tolist() for _ in range(n)]


def agree(policy, request, completion, tolerance=1e-5):
    logp, entropy = reference(policy, request.prompt_ids.tolist(), completion.ids.tolist(), request.temperature or 1.0)
    np.testing.assert_allclose(completion.logprobs, logp, atol=tolerance, rtol=0)
    np.testing.assert_allclose(completion.entropies, entropy, atol=tolerance * 5, rtol=0)


def same(a, b, tolerance=1e-5):
    assert a.ids.tolist() == b.ids.tolist()
    assert a.finish == b.finish
    np.testing.assert_allclose(a.logprobs, b.logprobs, atol=tolerance)


async def episode(policy, number, turns=6, n=10, grow=7):
    """Turns that each continue the last; (request, completion) pairs."""
    rng = np.random.default_rng(number)
    prompt, talk = rng.integers(0, 60, 5 + number % 9).tolist(), []
    for turn in range(turns):
        request = ask(prompt, seed=1000 * number + turn, n=n, key=(number, turn))
        completion = await policy.generate(request)
        talk.append((request, completion))
        prompt = [*prompt, *completion.ids.tolist(), *rng.integers(0, 60, rng.integers(1, grow)).tolist()]
    return talk


def play(policy, episodes, **more):
    async def all_of():
        return await asyncio.gather(*(episode(policy, e, **more) for e in episodes))

    return asyncio.run(all_of())


def test_it_is_a_policy():
    assert isinstance(policy_of(), Policy)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [llama, qwen2, mistral, gemma2, gpt2])
def test_ragged_batches_agree_with_one_forward_each(make, dtype):
    policy = policy_of(make, dtype=dtype, slots=6, window=64 if make is gpt2 else 256)
    requests = [ask(p, seed=i, n=1 + i * 2 % 11, temperature=1.0 + i % 2) for i, p in enumerate(prompts(13, high=40))]
    for request, completion in zip(requests, generate(policy, requests), strict=True):
        agree(policy, request, completion)


@pytest.mark.parametrize("make", [llama, qwen2, gemma2])
def test_many_turns_with_kept_keys_give_what_a_cold_policy_gives_alone(make):
    warm = play(policy_of(make, slots=5), range(9))
    policy = policy_of(make)
    for talk in warm:
        for request, completion in talk:
            policy.update({}, 0)  # cold
            same(generate(policy, [request])[0], completion, 2e-5)
            agree(policy, request, completion, 2e-5)


def test_rows_that_end_early_come_back_while_others_go_on():
    """A prompt forward must not touch the keys of rows that are in the middle of a reply."""
    policy = policy_of(slots=8)

    async def short_and_long():
        long = [asyncio.create_task(policy.generate(ask([1, 2, 3 + i], seed=i, n=120))) for i in range(2)]
        await asyncio.sleep(0)
        shorts = await asyncio.gather(*(episode(policy, e, turns=12, n=2) for e in range(6)))
        return [await one for one in long], shorts

    long, shorts = asyncio.run(short_and_long())
    for i, completion in enumerate(long):
        agree(policy, ask([1, 2, 3 + i]), completion)
    for talk in shorts:
        for request, completion in talk:
            agree(policy, request, completion)


def test_a_prefix_shared_with_a_reply_in_progress_is_not_trusted_beyond_what_it_holds():
    policy = policy_of(slots=2)
    old = list(range(40))
    generate(policy, [ask(old, n=1)])

    async def both():
        first = asyncio.create_task(policy.generate(ask([*old[:30], 50, 51], n=60)))  # takes over the slot
        for _ in range(8):
            await asyncio.sleep(0)
        second = await policy.generate(ask([*old, 5], n=3))
        return await first, second

    first, second = asyncio.run(both())
    agree(policy, ask([*old[:30], 50, 51]), first)
    agree(policy, ask([*old, 5]), second)


def test_prefill_of_64_episodes_of_20_turns_is_what_is_new():
    policy = policy_of(slots=64, window=512)
    talks = play(policy, range(64), turns=20, n=6)
    new = 0
    for talk in talks:
        before = 0  # what the last turn computed: all but its last token
        for request, completion in talk:
            new += len(request.prompt_ids) - before
            before = len(request.prompt_ids) + len(completion.ids) - 1
    counters = policy.counters
    assert counters.new_tokens == new
    assert counters.prefill_tokens <= 1.1 * new
    assert counters.sampled_tokens == sum(len(c.ids) for talk in talks for _, c in talk)
    assert 0 <= counters.padding_share < 0.6
    assert counters.used_positions == counters.prefill_tokens + counters.sampled_tokens - 64 * 20


def test_memory_is_taken_for_the_conversations_there_are():
    policy = policy_of(slots=128)
    (talk,) = play(policy, [0], turns=12)
    assert policy._cache.slots == 1
    assert policy._cache.length < 2 * (len(talk[-1][0].prompt_ids) + 64)
    for talk in play(policy, range(1, 6)):
        for request, completion in talk:
            agree(policy, request, completion)
    assert policy._cache.slots <= 8


def test_with_more_conversations_than_slots_the_oldest_makes_room():
    policy = policy_of(slots=3)
    talks = play(policy, range(8), turns=5)
    for talk in talks:
        for request, completion in talk:
            agree(policy, request, completion)
    a, b, c = ([10 * i + 1] * 20 for i in range(3))
    policy = policy_of(slots=2)
    generate(policy, [ask(a, n=1, key=("a", 0))])
    generate(policy, [ask(b, n=1, key=("b", 0))])
    generate(policy, [ask([*a, 5], n=1, key=("a", 1))])  # a is the younger now
    generate(policy, [ask(c, n=1, key=("c", 0))])  # takes b's slot
    assert policy.counters.prefill_tokens == policy.counters.new_tokens == 61
    generate(policy, [ask([*a, 5, 6], n=1, key=("a", 2))])
    assert policy.counters.prefill_tokens == policy.counters.new_tokens == 62
    generate(policy, [ask([*b, 6], n=1, key=("b", 1))])  # has to be computed again, and that shows
    assert policy.counters.prefill_tokens == 62 + 21
    assert policy.counters.new_tokens == 62 + 1


def test_siblings_copy_the_prompt_they_share():
    policy = policy_of()
    prompt = list(range(50))
    generate(policy, [ask(prompt, n=2)])
    before = policy.counters.prefill_tokens
    requests = [ask(prompt, seed=i, n=5) for i in range(4)]
    for request, completion in zip(requests, generate(policy, requests), strict=True):
        agree(policy, request, completion)
    assert policy.counters.prefill_tokens - before == 4


def test_new_weights_in_mid_episode_drop_every_key():
    policy, fresh = policy_of(), policy_of(seed=1)
    state = {k: v.clone() for k, v in fresh.model.state_dict().items()}
    talks = play(policy, range(4), turns=3)
    policy.update(state, 7)
    for talk in talks:
        request, completion = talk[-1]
        after = ask([*request.prompt_ids, *completion.ids, 1], seed=5, key=(*request.key[:-1], 99))
        got, expected = generate(policy, [after])[0], generate(fresh, [after])[0]
        same(got, expected)
        assert got.versions == [(0, 7)]


def test_a_reply_goes_on_by_new_weights_and_says_from_which_token():
    """What was sampled stays, and what follows is what the new weights say after it, logprobs included."""
    policy, fresh = policy_of(), policy_of(seed=1)
    state = {k: v.clone() for k, v in fresh.model.state_dict().items()}
    requests = [ask(p, seed=i, n=30) for i, p in enumerate(prompts(5))]

    async def changed():
        asked = [asyncio.create_task(policy.generate(r)) for r in requests]
        while not any(len(row.ids) > 3 for row in policy._running):
            await asyncio.sleep(0)
        policy.update(state, 1)
        return await asyncio.gather(*asked)

    old = generate(policy_of(), requests)
    cut = 0
    for request, got, before in zip(requests, asyncio.run(changed()), old, strict=True):
        starts = dict(got.versions)
        assert list(starts.values()) == sorted(starts.values())
        first = got.versions[-1][0] if got.versions[-1][1] == 1 else len(got.ids)
        cut += 0 < first < len(got.ids)
        assert got.ids[:first].tolist() == before.ids[:first].tolist()
        np.testing.assert_allclose(got.logprobs[:first], before.logprobs[:first], atol=1e-5)
        for t in range(first, len(got.ids)):
            context = torch.tensor([[*request.prompt_ids, *got.ids[:t]]])
            with torch.inference_mode():
                logits = fresh.model(context).logits[0, -1]
            expected = torch.log_softmax(logits.float() / request.temperature, -1)[got.ids[t]]
            assert abs(float(expected) - got.logprobs[t]) < 1e-4
    assert cut


def test_a_reply_stops_at_a_stop_string_and_holds_it():
    policy = policy_of()
    (free,) = generate(policy, [ask([1, 2, 3], n=60)])
    text = policy.tokenizer.decode(free.ids)
    stop = text[9:12]
    (got,) = generate(policy, [ask([1, 2, 3], n=60, stop=("never", stop))])
    assert policy.tokenizer.decode(got.ids) == text[: text.index(stop) + len(stop)]
    assert got.finish == "stop"


def test_a_stop_string_over_several_tokens_and_half_letters():
    tokenizer = train_tokenizer(["a b c"], 320)
    torch.manual_seed(0)
    policy = TransformersPolicy(llama(vocab_size=384, eos_token_id=1), tokenizer, slots=2)
    for stop in ("</action>", "ab", "é", "。", "a "):
        tokens = tokenizer(stop)["input_ids"]
        assert policy._may_stop((stop,))[tokens[-1]], stop


def test_a_reply_ends_with_the_end_token_and_the_limits():
    policy = policy_of()
    policy._ends = frozenset(range(0, 64, 2))
    (got,) = generate(policy, [ask([1, 2], n=50)])
    assert got.finish == "stop"
    assert [i % 2 for i in got.ids] == [1] * (len(got.ids) - 1) + [0]
    policy = policy_of(window=20)
    (got,) = generate(policy, [ask([1] * 15, n=50)])
    assert (len(got.ids), got.finish) == (5, "length")
    (got,) = generate(policy, [ask([1] * 19, n=50)])
    assert len(got.ids) == 1
    for wrong in (ask([1] * 20), ask([]), ask([1], n=0)):
        with pytest.raises(ValueError, match=r"window|prompt"):
            generate(policy, [wrong])


def test_the_window_is_never_above_the_models():
    assert policy_of(window=10_000).window == 512
    assert policy_of(window=None).window == 512


def test_temperature_0_takes_the_likeliest_and_reports_its_probability_at_1():
    policy = policy_of()
    a, b = generate(policy, [ask([1, 2, 3], seed=s, temperature=0.0) for s in (1, 2)])
    same(a, b)
    agree(policy, ask([1, 2, 3]), a)
    with torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([[1, 2, 3, *a.ids[:-1]]])).logits[0, 2:]
    assert logits.argmax(-1).tolist() == a.ids.tolist()


def test_draws_depend_on_the_seed_alone():
    policy = policy_of()
    first, other = generate(policy, [ask([1, 2, 3], seed=s) for s in (1, 2)])
    crowd = generate(policy, [ask(p, seed=9) for p in prompts(6)] + [ask([1, 2, 3], seed=1)])
    same(crowd[-1], first)
    assert first.ids.tolist() != other.ids.tolist()


def test_cancelled_requests_leave_the_batch():
    policy = policy_of(slots=3)

    async def cancel():
        kept = asyncio.create_task(policy.generate(ask([1, 2, 3], n=60)))
        others = [asyncio.create_task(policy.generate(ask([i, i], n=10_000))) for i in range(5)]
        for _ in range(12):
            await asyncio.sleep(0)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        return await kept

    agree(policy, ask([1, 2, 3]), asyncio.run(cancel()))
    assert not policy._busy.any()
    assert not policy._running
    assert not policy._waiting


def test_an_error_in_the_model_reaches_everyone_and_the_policy_goes_on(monkeypatch):
    policy = policy_of(slots=6)
    monkeypatch.setattr("agentrl.policies.padding.PREFILL_POSITIONS", 20)  # several prompt forwards
    forward, calls = policy.model.base_model.forward, []

    def broken(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return forward(*args, **kwargs)

    policy.model.base_model.forward = broken

    async def all_of():
        asked = [policy.generate(ask(p, n=20)) for p in prompts(9, low=10)]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 20)

    assert [str(error) for error in asyncio.run(all_of())] == ["out of memory"] * 9
    assert not policy._busy.any()
    policy.model.base_model.forward = forward
    requests = [ask(p, seed=i) for i, p in enumerate(prompts(9))]
    for request, completion in zip(requests, generate(policy, requests), strict=True):
        agree(policy, request, completion)


def test_layers_that_see_a_window_only_are_computed_anew_and_exactly():
    policy = policy_of(mistral)
    for talk in play(policy, range(3), turns=4):
        for request, completion in talk:
            agree(policy, request, completion)
    torch.manual_seed(0)
    blind = policy_of(mistral)
    blind.model.config.sliding_window = None
    request = ask(list(range(40)))
    seen, unseen = (reference(p, list(range(40)), [1, 2, 3])[0] for p in (policy, blind))
    assert np.abs(seen - unseen).max() > 1e-3 or policy.model.config.sliding_window is None  # the window matters
    agree(policy, request, generate(policy, [request])[0])


def test_a_window_that_is_longer_than_any_prompt_is_no_window():
    policy = policy_of(lambda: mistral(sliding_window=256), window=256)
    assert not policy._slow
    assert policy_of(lambda: mistral(sliding_window=255), window=256)._slow
    for talk in play(policy, range(3), turns=4):
        for request, completion in talk:
            agree(policy, request, completion)


def test_requests_are_admitted_in_the_order_of_their_keys():
    policy, order = policy_of(slots=1), []
    policy.expect(lambda: 4)

    async def one(key):
        await policy.generate(ask([key], key=(key,), n=1))
        order.append(key)
        if len(order) == 1:
            policy.expect(None)

    async def all_of():
        await asyncio.gather(*(one(key) for key in (3, 1, 2, 0)))

    asyncio.run(all_of())
    assert order == [0, 1, 2, 3]


def test_a_cache_that_memory_cannot_hold_has_fewer_slots_and_fewer_episodes_run(monkeypatch):
    from agentrl.rollout.engine import Rollout

    model = qwen2()
    token = 2 * 2 * 2 * 8 * 4  # keys and values of 2 layers, 2 heads of 8, in 4 bytes
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 4 * token * 512 * 3}  # a quarter holds three windows
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    policy = TransformersPolicy(model, train_tokenizer(["go"], 320), slots=8)
    assert policy.slots == 3
    assert Rollout(policy, concurrency=8).concurrency == 3
    assert TransformersPolicy(model, train_tokenizer(["go"], 320), slots=2).slots == 2
