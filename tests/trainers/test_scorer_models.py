"""The models that scorers train beside the policy, and the judge: what they give, learn and cost, and their resumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch.nn.functional import binary_cross_entropy, binary_cross_entropy_with_logits
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl.errors import UserError
from agentrl.trainers import checkpoint
from agentrl.trainers.action_values import ActionValues
from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.credit.agentprm import targets
from agentrl.trainers.implicit import ImplicitReward
from agentrl.trainers.judge import Judge
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import AgentPRMConfig, PrimeConfig, Recipe, load
from agentrl.trainers.values import spoken
from agentrl.types import Group, Task, Trajectory, Turn

V = 32
SHAPE = tiny.SHAPE | {"vocab_size": V, "initializer_range": 0.3}


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


def played() -> tuple[list[Trajectory], TurnTable]:
    """A success of two segments, and two failures whose first turns are alike."""
    rng = np.random.default_rng(3)

    def turn(prompt: list[int], ids: list[int], action: str, reward: float = 0.0) -> Turn:
        zeros = np.zeros(len(ids))
        at = np.array(ids)
        return Turn(
            "s", "s", np.array(prompt), at, zeros, zeros, action=action, versions=[(0, 0)], rewards={"r": reward}
        )

    some = rng.integers(3, V, 12).tolist()
    a = [turn([1, 2], some[:3], "x"), turn([9, 9], some[3:5], "y", 1.0)]
    b = [turn([1, 2], some[:3], "x"), turn([1, 2, *some[:3], 5], some[5:9], "z")]
    c = [turn([1, 2], some[9:], "w")]
    task = Task("E-v0", 0)
    all_ = [Trajectory(n, task, 0, turns, group="g", success=n == "a") for n, turns in (("a", a), ("b", b), ("c", c))]
    return all_, TurnTable.from_groups([Group(task, "g", all_)])


def samples() -> tuple[list[Sample], TurnTable]:
    trajectories, table = played()
    return spoken(trajectories, table.start.tolist()), table


def logprobs(model: LlamaForCausalLM, trajectory: Trajectory) -> torch.Tensor:
    """Of its sampled tokens, turn by turn, each from its own prompt."""
    parts = []
    for turn in trajectory.turns:
        ids = torch.from_numpy(np.concatenate([turn.prompt_ids, turn.completion_ids]).astype(np.int64))[None]
        found = model(ids).logits[0].log_softmax(-1)[len(turn.prompt_ids) - 1 : -1]
        parts.append(found.gather(1, torch.from_numpy(turn.completion_ids.astype(np.int64))[:, None])[:, 0])
    return torch.cat(parts)


@pytest.mark.parametrize("batcher", BATCHERS)
def test_prime_scores_before_it_learns_and_learns_from_outcomes(model: LlamaForCausalLM, batcher: str) -> None:
    trajectories, table = played()
    rewards = ImplicitReward(PrimeConfig(lr=0.01, beta=0.5, grad_clip=1e9), model)
    before = [parameter.clone() for parameter in rewards.model.parameters()]
    found, told = rewards.score(table, samples()[0], batcher, 64)
    np.testing.assert_array_equal(found.token_rewards, 0)  # it began as its reference
    assert told["loss"] == pytest.approx(np.log(2))
    # the step that a plain cross-entropy of whole trajectories makes
    plain = ImplicitReward(PrimeConfig(lr=0.01, beta=0.5), model)
    chance = torch.stack(
        [
            torch.sigmoid(0.5 * (logprobs(plain.model, t) - logprobs(plain.reference, t).detach()).sum())
            for t in trajectories
        ]
    )
    binary_cross_entropy(chance, torch.tensor([1.0, 0.0, 0.0])).backward()
    plain.optimizer.step()
    for mine, theirs, old in zip(rewards.model.parameters(), plain.model.parameters(), before, strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-3)
        assert not torch.equal(mine, old)
    after, told = rewards.score(table, samples()[0], batcher, 64)
    expected = torch.cat([logprobs(plain.model, t) - logprobs(plain.reference, t) for t in trajectories])
    np.testing.assert_allclose(after.token_rewards, expected.detach().numpy(), atol=5e-4)
    assert told["loss"] < np.log(2)


def test_prime_learns_to_tell_a_success(model: LlamaForCausalLM) -> None:
    rewards = ImplicitReward(PrimeConfig(lr=0.01), model)
    parts, table = samples()
    for _ in range(30):
        found, told = rewards.score(table, parts, "trie", 64)
    total = np.bincount(table.trajectory[table.token_turn], found.token_rewards)
    assert told["accuracy"] == 1.0
    assert total[0] > 0 > max(total[1:])


@pytest.mark.parametrize("batcher", BATCHERS)
def test_action_values_read_the_whole_action_and_learn_its_worth(model: LlamaForCausalLM, batcher: str) -> None:
    trajectories, table = played()
    values = ActionValues(AgentPRMConfig(lr=0.01, grad_clip=1e9), model)
    with torch.no_grad():
        values.head.linear.weight.normal_(generator=torch.Generator().manual_seed(2))
    plain = ActionValues(AgentPRMConfig(lr=0.01), model)
    plain.head.load_state_dict(values.head.state_dict())
    seen = [np.concatenate([turn.prompt_ids, turn.completion_ids[:-1]]) for t in trajectories for turn in t.turns]
    states = [plain.model.base_model(torch.from_numpy(ids.astype(np.int64))[None])[0][0, -1:] for ids in seen]
    logits = torch.cat([plain.head(state) for state in states])
    found, _ = values.score(table, samples()[0], batcher, 64)
    np.testing.assert_allclose(found.scores["action_value"], torch.sigmoid(logits).detach().numpy(), atol=1e-5)
    binary_cross_entropy_with_logits(logits, torch.from_numpy(targets(table)).float()).backward()
    plain.optimizer.step()
    for mine, theirs in zip(values.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-3)
    for _ in range(60):
        found, told = values.score(table, samples()[0], batcher, 64)
    np.testing.assert_allclose(found.scores["action_value"], [0.5, 1.0, 0.5, 0.0, 0.0], atol=0.1)
    assert told["error"] < 0.1


JUDGES = """
def longer(one, other):
    return len(one.turns), len(other.turns)

async def first(one, other):
    return 10, 0

def broken(one, other):
    raise ConnectionError("no judge today")

def nan(one, other):
    return float("nan"), 1
"""


@pytest.fixture
def judges(tmp_path: Path) -> str:
    path = tmp_path / "judges.py"
    path.write_text(JUDGES)
    return str(path)


def test_a_judge_ranks_and_a_liking_for_the_first_cancels(judges: str) -> None:
    trajectories, table = played()
    found, told = Judge(f"{judges}:longer").ranked(table, trajectories)
    assert found.scores["arena"].tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    assert told == {"calls": 8, "failed": 0}
    tied, _ = Judge(f"{judges}:first").ranked(table, trajectories)
    nobody, _ = Judge(f"{judges}:broken").ranked(table, trajectories)
    assert tied.scores["arena"].tolist() == nobody.scores["arena"].tolist()


@pytest.mark.parametrize(("name", "why"), [("broken", "ConnectionError: no judge today"), ("nan", "finite numbers")])
def test_a_match_without_a_verdict_is_a_tie_and_is_told(judges: str, name: str, why: str) -> None:
    _, told = Judge(f"{judges}:{name}").ranked(played()[1], played()[0])
    assert told["failed"] == told["calls"] == 8
    assert why in told["first_error"]


def test_a_judge_that_is_not_there_is_named(judges: str) -> None:
    with pytest.raises(UserError, match=r"unknown judge of .*: 'longest'; did you mean 'longer'"):
        Judge(f"{judges}:longest")


SMALL = [
    "rollout.tasks=2",
    "rollout.group=3",
    "limits.turns=4",
    "limits.turn_tokens=12",
    "kwargs.reward=dense",
    "checkpoint_every=1",
    "evaluate=false",
    "optim.anneal=false",
]


def recipe(*changes: str) -> Recipe:
    return load("household-tiny", [*SMALL, *changes])


@pytest.mark.parametrize(
    "given",
    [["credit=[prime]", "prime={lr: 0.001}"], ["rewards=[agentprm]", "credit=[step-grpo]", "agentprm={lr: 0.001}"]],
)
def test_a_run_resumes_to_the_bit(given: list[str], tmp_path: Path) -> None:
    whole, half = tmp_path / "whole", tmp_path / "half"
    Training.new(recipe(*given, "iterations=3"), whole).run()
    Training.new(recipe(*given, "iterations=2"), half).run()
    Training.resume(half, iterations=3).run()
    first, second = (checkpoint.load_state(folder / "checkpoints" / "last") for folder in (whole, half))
    [name] = {"prime", "agentprm"} & first.keys()
    for key, tensor in first[name]["model"].items():
        assert torch.equal(tensor, second[name]["model"][key]), key
    lines = [(folder / "metrics.jsonl").read_text().splitlines() for folder in (whole, half)]
    told, again = (json.loads(part[-1])[name] for part in lines)
    assert told == again


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["credit=[prime]"], r"credit prime needs token_rewards, which nothing in the recipe gives: set prime=\{\}"),
        (["prime={}"], "prime: no method asks for what it gives; name prime in credit"),
        (["rewards=[agentprm]"], r"agentprm needs score:action_value, .*: set agentprm=\{\}"),
        (["rewards=[arena]"], "arena needs score:arena, .*: set judge=FILE.py:FUNCTION"),
        (["credit=[grpo,empg]", "policy.engine=vllm"], "credit reads entropies, and policy.engine vllm gives none"),
        (["rollout.brancher=arpo", "policy.engine=vllm"], "rollout.brancher reads entropies, and policy.engine vllm"),
    ],
)
def test_recipes_that_cannot_work_are_refused(changes: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        Training.new(recipe(*changes), tmp_path / "run").run()
