"""LoRA adapters in vLLM's engine: synced alone, each version under a name of its own, old ones unloaded.

The tests marked ``vllm`` need an installation of their own: ``make test-vllm``.
"""

import asyncio
import functools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrl import store
from agentrl.errors import UserError
from agentrl.policies.base import Request
from agentrl.policies.load import load_model, locate
from agentrl.policies.vllm import VLLMPolicy
from agentrl.policies.vllm_weights import Lora
from agentrl.trainers import adapters
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import LoraConfig, load

TALK = "<|system|>You are in a room.<|end|><|user|>{}<|end|><|assistant|>"
SAID = ["go to desk 1", "take apple 2", "nothing happens", "What now?"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["policy.sleep=true"], "transfer and sleep are for the engine vllm"),
        (["policy.engine=vllm", "policy.transfer=nccl"], "nccl needs a vLLM server on other GPUs"),
        (["policy.engine=vllm@http://x:1", "policy.transfer=ipc"], "ipc is for the engine that agentrl starts itself"),
        (
            ["policy.engine=vllm", "policy.sleep=true", "rollout.deterministic=false", "rollout.staleness=1"],
            "policy.sleep is for an idle engine",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(changes, line):
    with pytest.raises(UserError, match=line):
        load("household-tiny", changes)


class Adapted:
    """A model with adapters, and the policy of vLLM that is given them."""

    def __init__(self):
        self.model, self.tokenizer = load_model(locate("small"))
        adapters.add(self.model, LoraConfig(rank=4, alpha=8), "small", 0)
        lora = Lora(4, functools.partial(adapters.save, self.model))
        self.vllm = VLLMPolicy(locate("small"), trainer=self.model, max_gap=1e-4, lora=lora, sleep=True)

    def change(self, seed):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for value in adapters.trained(self.model).values():
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
        self.vllm.update(adapters.trained(self.model), self.vllm.version + 1)

    def requests(self, **more):
        prompts = [self.tokenizer(TALK.format(s), add_special_tokens=False)["input_ids"] for s in SAID]
        options = {"max_tokens": 20, "temperature": 0.0} | more
        return [Request(np.asarray(p, np.int32), seed=i, **options) for i, p in enumerate(prompts)]

    def judged(self, request, reply):
        ids = torch.from_numpy(np.concatenate([request.prompt_ids, reply.ids]).astype(np.int64))
        start = len(request.prompt_ids)
        with torch.inference_mode():
            logits = self.model(ids[None]).logits[0, start - 1 : -1].float()
        logp = torch.log_softmax(logits / (request.temperature or 1.0), -1)
        return logp.gather(-1, ids[start:, None])[:, 0].numpy()

    def loaded(self):
        return set(self.vllm._call(self.vllm._engine.list_loras()))


def ask(policy, requests):
    async def all_of_them():
        return await asyncio.gather(*(policy.generate(request) for request in requests))

    return asyncio.run(all_of_them())


@pytest.fixture(scope="module")
def adapted():
    if "vllm" not in os.environ.get("AGENTRL_REQUIRE", ""):
        pytest.importorskip("peft")
    adapted = Adapted()
    yield adapted
    adapted.vllm.close()


@pytest.mark.vllm
def test_every_version_is_what_the_trainer_holds_and_the_only_one_there(adapted):
    for seed in range(3):
        requests = adapted.requests()
        replies = ask(adapted.vllm, requests)
        for request, reply in zip(requests, replies, strict=True):
            np.testing.assert_allclose(reply.logprobs, adapted.judged(request, reply), atol=1e-4)
            assert reply.versions == [(0, adapted.vllm.version)]
        assert adapted.loaded() == {adapted.vllm._adapter.lora_int_id}
        assert len(list(adapted.vllm._folder.iterdir())) == 1
        adapted.change(seed)  # and by that the same replies are others
        differs = [
            np.abs(reply.logprobs - adapted.judged(request, reply)).max()
            for request, reply in zip(requests, replies, strict=True)
        ]
        assert max(differs) > 1e-2


@pytest.mark.vllm
def test_the_base_is_as_it_was(adapted):
    with adapters.off(adapted.model):
        for request in adapted.requests():
            output = adapted.vllm._call(adapted.vllm._ask(adapted.vllm._engine, request))
            reply = adapted.vllm._completion(request, output, None, 0.0)
            np.testing.assert_allclose(reply.logprobs, adapted.judged(request, reply), atol=1e-4)


@pytest.mark.vllm
def test_a_reply_ends_by_the_adapter_that_it_began_with(adapted):
    hot = adapted.requests(max_tokens=900, temperature=2.0)
    before = adapted.vllm.version
    old = {name: value.clone() for name, value in adapters.trained(adapted.model).items()}

    async def interrupted():
        replies = [asyncio.ensure_future(adapted.vllm.generate(request)) for request in hot]
        await adapted.vllm.generate(adapted.requests(max_tokens=1)[0])  # by now the others have begun
        adapted.change(10)
        assert not all(reply.done() for reply in replies)
        assert len(adapted.loaded()) == 2
        new = await adapted.vllm.generate(adapted.requests()[1])
        return await asyncio.gather(*replies), new

    replies, new = asyncio.run(interrupted())
    assert new.versions == [(0, before + 1)]
    np.testing.assert_allclose(new.logprobs, adapted.judged(adapted.requests()[1], new), atol=1e-4)
    assert adapted.loaded() == {adapted.vllm._adapter.lora_int_id}
    adapters.take(adapted.model, old)
    for request, reply in zip(hot, replies, strict=True):
        assert reply.versions == [(0, before)]
        np.testing.assert_allclose(reply.logprobs, adapted.judged(request, reply), atol=1e-4)


@pytest.mark.vllm
def test_an_engine_that_rests_wakes_with_the_next_adapter(adapted):
    adapted.vllm.rest()
    assert adapted.vllm._call(adapted.vllm._engine.is_sleeping())
    adapted.change(20)
    assert not adapted.vllm._call(adapted.vllm._engine.is_sleeping())


@pytest.mark.vllm
def test_an_engine_that_was_killed_comes_back_with_the_newest_adapter(adapted):
    adapted.change(30)
    requests = adapted.requests(temperature=1.0)
    lost = adapted.vllm._engine

    async def killed():
        replies = [asyncio.ensure_future(adapted.vllm.generate(request)) for request in requests]
        for process in lost.engine_core.resources.engine_manager.processes:
            os.kill(process.pid, signal.SIGKILL)
        return await asyncio.gather(*replies)

    for request, reply in zip(requests, asyncio.run(killed()), strict=True):
        np.testing.assert_allclose(reply.logprobs, adapted.judged(request, reply), atol=1e-4)
        assert reply.versions == [(0, adapted.vllm.version)]
    assert adapted.vllm._engine is not lost


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_with_adapters_goes_on_where_it_was(tmp_path: Path):
    if "vllm" not in os.environ.get("AGENTRL_REQUIRE", ""):
        pytest.importorskip("peft")
    changes = ["policy.engine=vllm", "lora={rank: 4, alpha: 8}", "optim.lr=0.01", "optim.anneal=false"]
    changes += ["rollout.tasks=2", "iterations=2", "checkpoint_every=1", "evaluate=false", "limits.turns=8"]
    Training.new(load("household-tiny", changes), tmp_path / "run").run()
    Training.resume(tmp_path / "run", iterations=3).run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1, 2]
    assert all(line["update"]["logprob_gap_max"] < 1e-3 for line in lines)
    groups = [g for f in sorted((tmp_path / "run" / "trajectories").glob("*.parquet")) for g in store.read(f)]
    for number, group in enumerate(groups):
        assert all(version == number // 2 for t in group for turn in t.turns for _, version in turn.versions)
