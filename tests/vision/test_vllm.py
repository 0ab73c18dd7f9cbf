"""Images with vLLM: it samples by what the trainer sees, and is trained on the ids that it was given.

They need an installation of their own: ``make test-vllm``. The models' heads are of a size that vLLM takes on a CPU.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vl
from colours import COLOURS, png
from test_policy import judged, said
from vllm_serving import serving

from agentrl import api, store
from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.errors import UserError
from agentrl.policies.base import Completion, Request
from agentrl.policies.load import load_model
from agentrl.policies.vllm import VLLMPolicy
from agentrl.policies.vllm_weights import Lora

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]
RED, GREEN = png(COLOURS["red"]), png(COLOURS["green"])
WIDE = png(COLOURS["blue"], 32)
COLOURED = f"{Path(__file__).parents[2] / 'examples' / 'colours.py'}:Colours-v0"


def made(folder: Path, kind: str) -> Path:
    if "vllm" not in os.environ.get("AGENTRL_REQUIRE", ""):
        pytest.importorskip("torchvision")  # vLLM reads no processor of images without it
    return vl.small(folder / kind, kind, head=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("vl"), "qwen2_5_vl")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    return load_model(folder)[0]


@pytest.fixture(scope="module")
def policy(folder: Path, model: Any) -> Iterator[VLLMPolicy]:
    policy = VLLMPolicy(folder, trainer=model, max_gap=1e-4)
    yield policy
    policy.close()


@pytest.fixture
def agent(policy: VLLMPolicy) -> ChatAgent:
    return ChatAgent(policy.tokenizer, AgentConfig(), "look", [])


def ask(policy: VLLMPolicy, *requests: Request) -> list[Completion]:
    async def all_of() -> list[Completion]:
        return list(await asyncio.gather(*(policy.generate(request) for request in requests)))

    return asyncio.run(all_of())


def changed(model: Any, seed: int) -> dict[str, torch.Tensor]:
    """Other weights, also where it sees."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    state: dict[str, torch.Tensor] = model.state_dict()
    return state


def agrees(policy: VLLMPolicy, model: Any) -> None:
    """Prompts with no, one and two images, at once, and one that goes on from the first."""
    agent = ChatAgent(policy.tokenizer, AgentConfig(), "look", [])
    first, second, plain = agent.start(), agent.start(), agent.start()
    requests = [
        Request(first.prompt(said(RED, "colour?")), 6, seed=1, key=(1, 0), images=first.images),
        Request(second.prompt(said("one", GREEN, "two", WIDE)), 9, seed=2, key=(2, 0), images=second.images),
        Request(plain.prompt("no picture"), 7, seed=3, key=(3, 0)),
    ]
    replies = ask(policy, *requests)
    first.reply(replies[0].ids, "x")
    requests.append(Request(first.prompt(said(WIDE)), 8, seed=4, key=(1, 1), images=first.images))
    replies += ask(policy, requests[-1])
    for request, got in zip(requests, replies, strict=True):
        np.testing.assert_allclose(got.logprobs, judged(model, request.prompt_ids, got.ids, request.images), atol=1e-4)
        assert got.versions == [(0, policy.version)]


def follows(policy: VLLMPolicy, model: Any) -> None:
    """It says what the trainer says, before and after it is given other weights; then it is ended."""
    with closing(policy):
        agrees(policy, model)
        policy.update(changed(model, 0), 1)
        agrees(policy, model)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen3_vl"])
def test_other_kinds_are_sampled_by_what_the_trainer_says(tmp_path: Path, kind: str) -> None:
    folder = made(tmp_path, kind)
    model = load_model(folder)[0]
    follows(VLLMPolicy(folder, trainer=model, max_gap=1e-4), model)


def test_it_samples_by_what_the_trainer_says_of_the_whole(policy: VLLMPolicy, model: Any) -> None:
    agrees(policy, model)


def test_equal_ids_with_another_picture_are_another_prompt(policy: VLLMPolicy, agent: ChatAgent, model: Any) -> None:
    prompt = agent.start().prompt(said(RED, "colour? red green blue " * 12))
    shown = [(RED,), (GREEN,), (RED,), (GREEN,)]
    requests = [Request(prompt, 6, seed=7, images=images) for images in shown]
    replies = ask(policy, requests[0]) + ask(policy, *requests[1:])  # the first one's keys are cached by then
    for request, got in zip(requests, replies, strict=True):
        np.testing.assert_allclose(got.logprobs, judged(model, prompt, got.ids, request.images), atol=1e-4)
    wrong = judged(model, prompt, replies[0].ids, (GREEN,))
    assert np.abs(wrong - replies[0].logprobs).max() > 1e-3


def test_new_weights_see_too(policy: VLLMPolicy, model: Any) -> None:
    policy.update(changed(model, 1), policy.version + 1)  # what images became by the old ones is forgotten
    agrees(policy, model)


def test_a_reply_goes_on_by_weights_that_came_in_its_middle(policy: VLLMPolicy, agent: ChatAgent, model: Any) -> None:
    prompt = agent.start().prompt(said(RED, "colour?"))
    hot = [Request(prompt, 180, seed=i, temperature=2.0, images=(RED,)) for i in range(4)]

    async def interrupted(seed: int) -> list[Completion]:
        replies = asyncio.gather(*(policy.generate(request) for request in hot))
        await policy.generate(Request(prompt, 1, seed=0, images=(RED,)))  # by now the others have begun
        policy.update(changed(model, seed), policy.version + 1)
        return list(await replies)

    for attempt in range(5):  # a reply may have been over before the weights came
        replies = asyncio.run(interrupted(100 + attempt))
        if both := [reply for reply in replies if len(reply.versions) == 2]:
            break
    assert both
    for reply in both:
        first = reply.versions[1][0]
        own = judged(model, prompt, reply.ids, (RED,), temperature=2.0)
        np.testing.assert_allclose(reply.logprobs[first:], own[first:], atol=1e-4)


def test_a_placeholder_is_never_said(policy: VLLMPolicy, agent: ChatAgent) -> None:
    prompts = [agent.start().prompt(f"say {i}") for i in range(16)]
    replies = ask(policy, *(Request(p, 40, seed=i, temperature=2.0) for i, p in enumerate(prompts)))
    tokens = np.concatenate([reply.ids for reply in replies])
    assert len(tokens) > 100
    assert agent.vision.token_id not in tokens


def test_ids_and_images_belong_together(policy: VLLMPolicy, agent: ChatAgent) -> None:
    with pytest.raises(ValueError, match="not as many"):
        ask(policy, Request(agent.start().prompt("none"), 2, seed=0, images=(RED,)))


def test_adapters_are_not_for_models_that_see(folder: Path, model: Any) -> None:
    with pytest.raises(UserError, match="takes images, and vLLM would not see by its adapters"):
        VLLMPolicy(folder, trainer=model, lora=Lora(4, lambda folder, state: None))


def test_a_server_is_shown_images_too(folder: Path) -> None:
    model = load_model(folder)[0]
    with serving(folder, "--enable-scale-out", "--limit-mm-per-prompt", '{"video": 0}') as socket:
        follows(VLLMPolicy(folder, trainer=model, max_gap=1e-4, server=socket), model)


@pytest.mark.slow
def test_it_is_trained_on_what_it_saw(folder: Path, tmp_path: Path) -> None:
    settings = ["policy.engine=vllm", "rollout.tasks=2", "rollout.group=4", "iterations=2", "evaluate=false"]
    settings += ["limits.turn_tokens=8", "optim.lr=1e-3", "trackers=[]", "threads=1"]
    api.train(COLOURED, policy=str(folder), out=tmp_path / "run", set=settings)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert all(line["update"]["logprob_gap_max"] < 1e-3 for line in lines)
    (first, *_) = store.read(tmp_path / "run" / "trajectories" / "000000.parquet")
    assert all(turn.images for t in first for turn in t.turns)
