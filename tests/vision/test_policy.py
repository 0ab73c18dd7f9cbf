"""A policy that takes images: what it samples by is what the model says of the whole prompt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from colours import COLOURS, png

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.errors import UserError
from agentrl.policies.base import Completion, Request
from agentrl.policies.load import load_model
from agentrl.policies.transformers import TransformersPolicy, head_logits
from agentrl.policies.vision import keyed, looked, within
from agentrl.types import Message

RED, GREEN = png(COLOURS["red"]), png(COLOURS["green"])
WIDE = png(COLOURS["blue"], 32)


def said(*parts: str) -> list[Message]:
    """A message of texts and images."""
    kinds = ["image" if part.startswith("data:") else "text" for part in parts]
    return [{"role": "user", "content": [{"type": k, k: p} for k, p in zip(kinds, parts, strict=True)]}]  # type: ignore


@pytest.fixture
def policy(seeing: Path) -> TransformersPolicy:
    return TransformersPolicy(*load_model(seeing), slots=4)


@pytest.fixture
def agent(policy: TransformersPolicy) -> ChatAgent:
    return ChatAgent(policy.tokenizer, AgentConfig(), "look", [])


def ask(policy: TransformersPolicy, *requests: Request) -> list[Completion]:
    async def all_of() -> list[Completion]:
        return list(await asyncio.gather(*(policy.generate(request) for request in requests)))

    return asyncio.run(all_of())


def judged(
    model: Any, prompt: np.ndarray, completion: np.ndarray, images: tuple[str, ...], temperature: float = 1.0
) -> np.ndarray:
    """Logprobs of a completion by one forward of transformers' own, nothing cached."""
    ids = torch.from_numpy(np.concatenate([prompt, completion]).astype(np.int64))[None]
    with torch.no_grad():
        hidden = model.base_model(input_ids=ids, use_cache=False, **looked(model, ids, [images]))[0]
        logp = torch.log_softmax(head_logits(model, hidden[0]) / temperature, -1)
    at = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
    return logp[at, ids[0, 1:][at]].numpy()


def test_what_it_sampled_by_is_what_the_model_says_of_the_whole(policy: TransformersPolicy, agent: ChatAgent) -> None:
    first, second, plain = agent.start(), agent.start(), agent.start()
    requests = [
        Request(first.prompt(said(RED, "colour?")), 6, seed=1, key=(1, 0), images=first.images),
        Request(second.prompt(said("one", GREEN, "two", WIDE)), 9, seed=2, key=(2, 0), images=second.images),
        Request(plain.prompt("no picture"), 7, seed=3, key=(3, 0)),
    ]
    for request, got in zip(requests, ask(policy, *requests), strict=True):
        own = judged(policy.model, request.prompt_ids, got.ids, request.images)
        np.testing.assert_allclose(got.logprobs, own, atol=1e-5)
    # the next turn goes on from cached keys, with a picture more
    first.reply(got.ids, "x")
    again = Request(first.prompt(said(GREEN)), 8, seed=4, key=(1, 1), images=first.images)
    assert again.images == (RED, GREEN)
    (got,) = ask(policy, again)
    np.testing.assert_allclose(got.logprobs, judged(policy.model, again.prompt_ids, got.ids, again.images), atol=1e-5)


def test_another_picture_is_another_prompt(policy: TransformersPolicy, agent: ChatAgent) -> None:
    chat = agent.start()
    prompt = chat.prompt(said(RED, "colour?"))
    request = Request(prompt, 6, seed=1, images=(RED,))
    (got,) = ask(policy, request)
    right = judged(policy.model, prompt, got.ids, (RED,))
    wrong = judged(policy.model, prompt, got.ids, (GREEN,))
    assert np.abs(right - wrong).max() > 1e-3
    # equal ids, and another picture in a slot that holds the first one's keys
    (other,) = ask(policy, Request(prompt, 6, seed=1, images=(GREEN,)))
    np.testing.assert_allclose(other.logprobs, judged(policy.model, prompt, other.ids, (GREEN,)), atol=1e-5)


def test_what_waits_together_shares_keys_where_it_shows_the_same(policy: TransformersPolicy, agent: ChatAgent) -> None:
    prompt = agent.start().prompt(said(RED, "colour? red green blue " * 12))
    shown = [(RED,), (GREEN,), (RED,), (GREEN,)]
    requests = [Request(prompt, 6, seed=i, images=images) for i, images in enumerate(shown)]
    for request, got in zip(requests, ask(policy, *requests), strict=True):
        np.testing.assert_allclose(got.logprobs, judged(policy.model, prompt, got.ids, request.images), atol=1e-5)
    before = int(np.argmax(prompt == agent.vision.token_id))  # the same for all
    assert policy.counters.prefill_tokens == len(prompt) + (len(prompt) - before) + 2


def test_weights_that_change_in_mid_reply_leave_positions_right(policy: TransformersPolicy, agent: ChatAgent) -> None:
    prompt = agent.start().prompt(said(RED, "colour?"))

    async def play() -> Completion:
        reply = asyncio.create_task(policy.generate(Request(prompt, 12, seed=5, images=(RED,))))
        while policy.counters.sampled_tokens < 4 and not reply.done():
            await asyncio.sleep(0)
        policy.update(policy.model.state_dict(), 1)
        return await reply

    got = asyncio.run(play())
    assert len(got.ids) <= 4 or got.versions[-1][1] == 1
    np.testing.assert_allclose(got.logprobs, judged(policy.model, prompt, got.ids, (RED,)), atol=1e-5)


def test_placeholders_are_as_many_as_the_model_makes_of_a_picture(seeing: Path, agent: ChatAgent) -> None:
    chat = agent.start()
    ids = chat.prompt(said(RED, "colour?", WIDE))
    token = agent.vision.token_id
    assert (ids == token).sum() == 4 + (20 if seeing.name == "internvl" else 16)  # four tiles and the whole
    pictures = [agent.vision.picture(url) for url in chat.images]
    keys = keyed(ids, pictures)
    assert len(set(keys[ids == token].tolist())) == 2
    assert (keys[ids != token] == ids[ids != token]).all()
    middle = np.flatnonzero(ids == token)[2]
    assert within(ids[: middle + 2], pictures) == pictures[:1]
    with pytest.raises(ValueError, match="placeholders"):
        within(ids[: middle + 1], pictures)


def test_text_cannot_forge_a_picture_and_none_is_ever_said(policy: TransformersPolicy, agent: ChatAgent) -> None:
    token = agent.vision.token
    forged = agent.start().prompt(said(RED, f"colour? {token}{token}"))
    assert (forged == agent.vision.token_id).sum() == 4
    for text in (token, f"{token[:4]}{token}{token[4:]}", f"{token}{token}"):
        assert (agent.start().prompt(text) != agent.vision.token_id).all()
    halves = agent.start().prompt(said(f"a {token[:5]}", f"{token[5:]} b", RED, token[:5], token[5:]))
    assert (halves == agent.vision.token_id).sum() == 4
    logits = head_logits(policy.model, torch.randn(3, 64))
    assert (logits.softmax(-1)[:, agent.vision.token_id] == 0).all()
    assert torch.isfinite(logits).all()


def test_what_is_no_picture_fails_the_request(policy: TransformersPolicy, agent: ChatAgent) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        agent.start().prompt(said("data:image/png;base64,AAAA"))
    with pytest.raises(ValueError, match="not as many"):
        ask(policy, Request(agent.start().prompt("none"), 2, seed=0, images=(RED,)))


def test_a_policy_without_eyes_is_told_by_a_word() -> None:
    model, tokenizer = load_model(Path(__file__).parents[2] / "agentrl" / "policies" / "small")
    chat = ChatAgent(tokenizer, AgentConfig(), "look", []).start()
    ids = chat.prompt(said(RED, "colour?"))
    assert "[image]" in tokenizer.decode(ids)
    assert chat.images == ()
    with pytest.raises(ValueError, match="takes no images"):
        ask(TransformersPolicy(model, tokenizer), Request(ids, 1, seed=0, images=(RED,)))
    with pytest.raises(UserError, match="takes none"):
        looked(model, torch.zeros(1, 4, dtype=torch.long), [(RED,)])
