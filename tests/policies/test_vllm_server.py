"""A vLLM server of its own, on a Unix socket: token ids in and out, and new weights.

The tests marked ``vllm`` need an installation of their own: ``make test-vllm``.
"""

import asyncio
import functools

import numpy as np
import pytest
import torch
from vllm_serving import serving

from agentrl.errors import UserError
from agentrl.policies.base import Request
from agentrl.policies.load import checked_engine, load_model, load_policy, locate
from agentrl.policies.transformers import TransformersPolicy

SAID = ["go to desk 1", "take apple 2", "nothing happens", "What now?"]
TALK = "<|system|>You are in a room.<|end|><|user|>{}<|end|><|assistant|>"


def test_a_server_that_is_not_there_is_named(tmp_path):
    with pytest.raises(
        UserError, match=rf"no vLLM server answers at {tmp_path}/none.*start one: VLLM_SERVER_DEV_MODE=1"
    ):
        load_policy("small", engine=f"vllm@{tmp_path}/none")


@pytest.mark.parametrize("engine", ["vllm@", "vllm@host", "transformers@/x", "vlm"])
def test_an_address_is_one(engine):
    with pytest.raises(UserError, match="unknown engine"):
        checked_engine(engine)


@pytest.fixture(scope="module")
def address():
    with serving(locate("small"), "--enable-lora", "--max-loras", "2", "--max-lora-rank", "8") as socket:
        yield socket


def requests_of(tokenizer, **options):
    prompts = [np.asarray(tokenizer(TALK.format(s), add_special_tokens=False)["input_ids"], np.int32) for s in SAID]
    return [Request(p, 20, seed=i, stop=("</action>",), **options) for i, p in enumerate(prompts)]


def ask(policy, requests):
    async def all_of_them():
        return await asyncio.gather(*(policy.generate(request) for request in requests))

    return asyncio.run(all_of_them())


def judged(model, request, completion):
    ids = np.concatenate([request.prompt_ids, completion.ids]).astype(np.int64)
    start = len(request.prompt_ids)
    with torch.inference_mode():
        logits = model(torch.from_numpy(ids)[None]).logits[0, start - 1 : -1].float()
    wanted = torch.log_softmax(logits / (request.temperature or 1.0), -1)
    return wanted.gather(-1, torch.from_numpy(ids[start:, None]))[:, 0].numpy()


@pytest.mark.vllm
@pytest.mark.timeout(1200)
def test_ids_logprobs_and_weights_go_to_a_server_and_come_back(address):
    from agentrl.policies.vllm import VLLMPolicy

    model, tokenizer = load_model(locate("small"))
    policy = VLLMPolicy(locate("small"), trainer=model, max_gap=1e-4, server=address)
    try:
        assert policy.window == 1024
        greedy = requests_of(tokenizer, temperature=0.0)
        for mine, theirs in zip(ask(policy, greedy), ask(TransformersPolicy(model, tokenizer), greedy), strict=True):
            assert (mine.ids.tolist(), mine.finish) == (theirs.ids.tolist(), theirs.finish)
        for temperature in (0.7, 1.0):
            drawn = requests_of(tokenizer, temperature=temperature)
            for request, reply in zip(drawn, ask(policy, drawn), strict=True):
                np.testing.assert_allclose(reply.logprobs, judged(model, request, reply), atol=1e-4)
                assert reply.versions == [(0, 0)]
        assert [r.ids.tolist() for r in ask(policy, drawn)] == [r.ids.tolist() for r in ask(policy, drawn)]

        with torch.inference_mode():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        policy.update(model.state_dict(), 1)  # compares a probe prompt by itself
        for request, reply in zip(drawn, ask(policy, drawn), strict=True):
            np.testing.assert_allclose(reply.logprobs, judged(model, request, reply), atol=1e-4)
            assert reply.versions == [(0, 1)]
    finally:
        policy.close()


@pytest.mark.vllm
@pytest.mark.timeout(1200)
def test_a_server_is_given_adapters_and_rid_of_old_ones(address):
    pytest.importorskip("peft")
    from agentrl.policies.vllm import VLLMPolicy
    from agentrl.policies.vllm_weights import Lora
    from agentrl.trainers import adapters
    from agentrl.trainers.recipe import LoraConfig

    other, _ = load_model(locate("small"))
    with torch.no_grad():
        other.model.norm.weight.mul_(1.1)
    VLLMPolicy(locate("small"), trainer=other, max_gap=1e-4, server=address).close()
    model, tokenizer = load_model(locate("small"))
    adapters.add(model, LoraConfig(rank=4), "small", 0)
    lora = Lora(4, functools.partial(adapters.save, model))
    with pytest.raises(UserError, match="vLLM does not hold the weights of version 0"):
        VLLMPolicy(locate("small"), trainer=model, max_gap=1e-4, server=address, lora=lora)
    VLLMPolicy(locate("small"), trainer=load_model(locate("small"))[0], max_gap=1e-4, server=address).close()
    policy = VLLMPolicy(locate("small"), trainer=model, max_gap=1e-4, server=address, lora=lora, sleep=True)

    def served():
        return {model["id"] for model in policy._call(policy._engine.client.get("/v1/models")).json()["data"]}

    base = served() - {policy._adapter.lora_name}
    drawn = requests_of(tokenizer, temperature=1.0)
    try:
        for version in range(3):
            for request, reply in zip(drawn, ask(policy, drawn), strict=True):
                np.testing.assert_allclose(reply.logprobs, judged(model, request, reply), atol=1e-4)
                assert reply.versions == [(0, version)]
            assert served() == base | {policy._adapter.lora_name}
            with torch.no_grad():
                for value in adapters.trained(model).values():
                    value.add_(0.05)
            policy.rest()
            policy.update(adapters.trained(model), version + 1)
    finally:
        policy.close()
