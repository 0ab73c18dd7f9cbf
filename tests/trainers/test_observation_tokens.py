"""What a tool answered carries no loss: its logits may be anything, the gradient is the same."""

import random

import numpy as np
import pytest
import torch

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.envs.tool_env import ToolEnv
from agentrl.tools import tool
from agentrl.trainers.batching import BATCHERS, samples_of
from agentrl.trainers.losses.objective import objective
from agentrl.trainers.models import new_model, train_tokenizer
from agentrl.types import Task, ToolCall, Trajectory, Turn


class Sums(ToolEnv):
    """Add up numbers."""

    def start(self, task: int, rng: random.Random) -> str:
        return f"What are {task} and {task}?"

    def score(self, answer: str) -> float:
        return 1.0

    @tool
    def add(self, a: int, b: int) -> str:
        """Add two numbers."""
        return f"The sum of {a} and {b} is {a + b}, as everybody knows."


TEXTS = [
    "The sum of 1 and 2 is 3, as everybody knows. What are 4 and 5? Add up numbers. Action Input: tool answer"
] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, 384)


def played(tokenizer, form, task):
    """An episode with parallel calls, as the agent renders it; the sampled ids are the format's own."""
    env, rng = Sums(), np.random.default_rng(task)
    agent = ChatAgent(tokenizer, AgentConfig(format=form), env.instructions, env.tools)
    chat = agent.start()
    observation, _ = env.reset(seed=0, options={"task": task})
    turns = []
    for action in ([ToolCall("add", a=task, b=1), ToolCall("add", a=2, b=task)], ToolCall("add", a=1, b=1), "7"):
        prompt = chat.prompt(observation)
        ids = np.asarray([*agent.encode(agent.format.render(action)), agent.end_id], np.int32)
        logprobs = rng.uniform(-2, 0, len(ids)).astype(np.float32)
        text = agent.decode(ids)
        assert agent.parse(text) == action
        entropies = np.zeros(len(ids), np.float32)
        turns.append(Turn(observation, "", prompt, ids, logprobs, entropies, text, action, versions=[(0, 0)]))
        chat.reply(ids, text)
        observation, *_ = env.step(action)
    return Trajectory(f"t{task}", Task("Sums-v0", task), 0, turns)


def gradient(model, samples, batcher, disturbed=()):
    """The gradient of PPO on all weights, where the logits at some positions are others."""

    def disturb(module, inputs, output):
        hidden = output[0].clone()
        noise = torch.randn(len(disturbed), hidden.shape[-1], generator=torch.Generator().manual_seed(0))
        hidden.view(-1, hidden.shape[-1])[list(disturbed)] += noise
        return (hidden,)

    model.zero_grad()
    handle = model.base_model.register_forward_hook(disturb)
    (batch,) = BATCHERS[batcher](samples, 4096)
    rows = batch.forward(model)
    handle.remove()
    by_rows, _ = objective("ppo", [], []).gradient(rows)
    torch.autograd.backward([getattr(rows, name) for name in by_rows], list(by_rows.values()))
    return torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("batcher", BATCHERS)
@pytest.mark.parametrize("form", ["tools", "tags", "react"])
def test_logits_of_observation_tokens_do_not_matter(tokenizer, form, batcher):
    trajectory = played(tokenizer, form, 3)
    (sample,) = samples_of([trajectory], np.asarray([1.0, -0.5, 0.25]), [0])
    sampled = {len(t.prompt_ids) + i for t in trajectory.turns for i in range(len(t.completion_ids))}
    assert "everybody" in tokenizer.decode(sample.ids[[i for i in range(len(sample.ids)) if i not in sampled]])
    assert "everybody" not in tokenizer.decode(sample.ids[sorted(sampled)])
    model = new_model("1m", tokenizer, 1024, 0)
    with torch.no_grad():  # on policy, so that nothing is clipped
        (batch,) = BATCHERS[batcher]([sample], 4096)
        sample.old_logprobs[sample.weight > 0] = batch.forward(model).logprobs.numpy()
    plain = gradient(model, [sample], batcher)
    assert plain.abs().max() > 0
    # a position predicts the token after it; what follows the last sampled token is not even computed
    others = [i for i in range(max(sampled)) if i + 1 not in sampled]
    assert torch.equal(gradient(model, [sample], batcher, others), plain)
    for i in sorted(sampled)[:: len(sampled) // 5]:
        assert not torch.equal(gradient(model, [sample], batcher, [i - 1]), plain)
