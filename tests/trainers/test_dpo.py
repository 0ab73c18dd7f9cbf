"""Preferences: pairs, the gradient against the formula by autograd, and that a policy comes to prefer."""

import math

import numpy as np
import pytest
import torch

from agentrl.errors import UserError
from agentrl.trainers.dpo import DPOConfig, fit, pairs_of
from agentrl.trainers.models import new_model, train_tokenizer
from agentrl.types import Group, Task, Trajectory, Turn

TASK = Task("E-v0", 0)
TOKENIZER = train_tokenizer(["go look shelf desk"] * 4, 320)


def trajectory(id, words, success, ids=True):
    turns, prompt = [], [5, 6, 7]
    for word in words:
        reply = TOKENIZER(word)["input_ids"] if ids else []
        turn = Turn(
            "see",
            prompt_ids=prompt if ids else [],
            completion_ids=reply,
            logprobs=[0.0] * len(reply),
            entropies=[0.0] * len(reply),
            versions=[(0, 0)] if ids else [],
            text=word,
        )
        turns.append(turn)
        prompt = [*prompt, *reply, 8, 9]
    return Trajectory(id, TASK, 0, turns, success=success)


def group():
    return Group(TASK, "g", [trajectory("a", ["go", "desk"], True), trajectory("b", ["look", "shelf"], False)])


def test_pairs_are_successes_and_failures_of_one_task():
    won = [trajectory(f"w{i}", ["go"], True) for i in range(3)]
    lost = [trajectory(f"l{i}", ["look"], False) for i in range(3)]
    scripted = trajectory("s", ["go"], True, ids=False)
    assert len(pairs_of([Group(TASK, "g", [*won, *lost, scripted])], DPOConfig(pairs=100))) == 9
    assert len(pairs_of([Group(TASK, "g", [*won, *lost])], DPOConfig(pairs=2))) == 2
    assert pairs_of([Group(TASK, "g", won), Group(TASK, "h", lost)], DPOConfig()) == []


def logprob(model, trajectory):
    total = 0.0
    for segment in trajectory.segments():
        ids = torch.from_numpy(segment.ids.astype(np.int64))[None]
        logp = torch.log_softmax(model(ids).logits[0, :-1].float(), -1)
        own = logp.gather(-1, ids[0, 1:, None])[:, 0]
        total = total + own[torch.from_numpy(segment.sampled[1:])].sum()
    return total


def test_loss_and_gradient_are_those_of_the_formula():
    model = new_model("1m", TOKENIZER, 64, 0)
    config = DPOConfig(batch=1, lr=1e-3, warmup=0, beta=0.5, epochs=2)
    with torch.no_grad():
        reference = [float(logprob(model, t)) for t in group()]
    seen = []
    losses = fit(model, pairs_of([group()], config), config, lambda *told: seen.append(told))
    assert losses[0] == pytest.approx(math.log(2), abs=1e-6)
    assert losses[1] < losses[0]
    assert [told[:2] for told in seen] == [(1, 2), (2, 2)]

    def by_autograd():
        now = [logprob(model, t) for t in group()]
        margin = now[0] - reference[0] - now[1] + reference[1]
        loss = -torch.nn.functional.logsigmoid(0.5 * margin)
        model.zero_grad()
        loss.backward()
        return float(loss), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    loss, expected = by_autograd()
    grads = []
    real = torch.nn.utils.clip_grad_norm_

    def catch(parameters, limit):
        grads.append(torch.cat([p.grad.flatten().clone() for p in model.parameters() if p.grad is not None]))
        return real(parameters, limit)

    model.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agentrl.trainers.dpo.nn.utils.clip_grad_norm_", catch)
        patch.setattr("agentrl.trainers.dpo._total", _shifted(reference))
        found = fit(model, pairs_of([group()], config), DPOConfig(batch=1, beta=0.5))
    assert found[0] == pytest.approx(loss, rel=1e-4)
    assert torch.allclose(grads[0], expected, atol=1e-6)


def _shifted(reference):
    """The first two totals are the start's, which here is the model before it was trained."""
    from agentrl.trainers.dpo import _total

    waiting = list(reference)
    return lambda model, samples, config: waiting.pop(0) if waiting else _total(model, samples, config)


def test_nothing_to_prefer_is_told():
    with pytest.raises(UserError, match="nothing to prefer"):
        fit(new_model("1m", TOKENIZER, 64, 0), [], DPOConfig())
