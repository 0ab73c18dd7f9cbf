"""The value head: what it reads, what it learns, and that a run with it resumes to the bit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.rollout.engine import Rollout
from agentrl.trainers import checkpoint
from agentrl.trainers.batching import BATCHERS, Sample, samples_of
from agentrl.trainers.credit import TurnTable, ledger, plan
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import ValueConfig
from agentrl.trainers.values import Critic, asked_next, scored, spoken, teach
from agentrl.types import Task, Trajectory, Turn

V = 32
SHAPE = tiny.SHAPE | {"vocab_size": V, "initializer_range": 0.3}
SMALL = [
    "rollout.tasks=6",
    "limits.turns=8",
    "limits.turn_tokens=12",
    "kwargs.reward=dense",
    "checkpoint_every=1",
    "evaluate=false",
    "optim.anneal=false",
]


@pytest.fixture
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SHAPE))


def critic_of(model: LlamaForCausalLM, **settings: float) -> Critic:
    critic = Critic(ValueConfig(**settings), model)  # type: ignore[arg-type]
    with torch.no_grad():
        critic.head.linear.weight.normal_(generator=torch.Generator().manual_seed(2))
    return critic


def played() -> tuple[list[Trajectory], TurnTable]:
    """Two episodes; the second begins its context anew after its first turn."""
    rng = np.random.default_rng(3)

    def turn(prompt: list[int], n: int, reward: float) -> Turn:
        ids = rng.integers(0, V, n)
        zeros = np.zeros(n)
        return Turn("s", "s", np.array(prompt), ids, zeros, zeros, versions=[(0, 0)], rewards={"r": reward})

    first = turn([1, 2, 3], 2, 0.0)
    second = turn([1, 2, 3, *first.completion_ids.tolist(), 4, 5], 3, 1.0)
    third, fourth = turn([7, 8], 1, 0.2), turn([9, 9, 9], 2, 0.0)
    task = Task("E-v0", 0)
    a = Trajectory("a", task, 0, [first, second], group="g")
    b = Trajectory("b", task, 0, [third, fourth], group="g", info={"last_observation": "x"})
    b.stop = b.stop.MAX_TURNS
    from agentrl.types import Group

    return [a, b], TurnTable.from_groups([Group(task, "g", [a, b])])


def samples_for(trajectories: list[Trajectory], table: TurnTable) -> list[Sample]:
    return samples_of(trajectories, np.zeros(len(table)), table.start.tolist())


@pytest.mark.parametrize("batcher", BATCHERS)
def test_a_value_is_the_heads_answer_at_the_end_of_what_was_seen(model: LlamaForCausalLM, batcher: str) -> None:
    trajectories, table = played()
    critic = critic_of(model)

    def plainly(seen: np.ndarray) -> float:
        hidden = model.base_model(torch.from_numpy(seen.astype(np.int64))[None])[0][0, -1:]
        return critic.head(hidden).item()

    trajectories[1].turns[0].trainable = False  # a turn of a stem: nobody trains it, and it has a value all the same
    samples, end = spoken(trajectories, table.start.tolist()), asked_next(np.array([5, 6, 7], np.int32))
    found, [after] = (critic.values(model, part, batcher, 64) for part in (samples, [end]))
    filled = scored(table, samples, found, {"b": float(after[-1])})
    turns = [turn for t in trajectories for turn in t.turns]
    expected = [
        [plainly(np.concatenate([turn.prompt_ids, turn.completion_ids[:k]])) for k in range(len(turn.completion_ids))]
        for turn in turns
    ]
    np.testing.assert_allclose(filled.token_values, np.concatenate(expected), atol=1e-5)
    np.testing.assert_allclose(filled.values, [part[0] for part in expected], atol=1e-5)
    assert filled.last_value == pytest.approx([0.0, plainly(np.array([5, 6, 7]))], abs=1e-5)


@pytest.mark.parametrize("id", ["gae", "gae-token"])
def test_returns_are_learnt_where_the_estimator_has_them(model: LlamaForCausalLM, id: str) -> None:
    trajectories, table = played()
    critic = critic_of(model)
    samples = samples_for(trajectories, table)
    filled = scored(table, samples, critic.values(model, samples, "padded", 64), {"b": 0.25})
    teacher = plan(credit={id: {"lam": 0.5}}).teacher
    assert teacher is not None
    found = teach(samples, filled, teacher)
    target = teacher.plugin.targets(filled, **teacher.options)
    known = np.concatenate([s.columns["returns"][s.turn >= 0] for s in samples])
    if id == "gae":
        assert np.flatnonzero(np.isfinite(known)).tolist() == filled.first_token.tolist()
    np.testing.assert_array_equal(known[np.isfinite(known)], target.astype(np.float32))
    seen = filled.values if id == "gae" else filled.token_values
    assert found["explained_variance"] == pytest.approx(1 - np.var(target - seen) / np.var(target))


def test_the_loss_is_ppos_clipped_one_and_does_not_depend_on_micro_batches(model: LlamaForCausalLM) -> None:
    trajectories, table = played()
    critic = critic_of(model, clip=0.1, trunk=1.0)
    samples = samples_for(trajectories, table)
    now = np.concatenate(critic.values(model, samples, "padded", 64))
    now = now[np.isfinite(now)]
    rng = np.random.default_rng(0)
    old, target = now + rng.choice([-0.3, -0.05, 0.05, 0.3], len(now)), rng.normal(size=len(now))
    target[2] = np.nan
    first = 0
    for sample in samples:
        where = np.flatnonzero(sample.turn >= 0)
        for name, column in (("values", old), ("returns", target)):
            sample.columns[name] = np.full(len(sample.ids), np.nan, np.float32)
            sample.columns[name][where] = column[first : first + len(where)]
        first += len(where)
    near = old + np.clip(now - old, -0.1, 0.1)
    expected = np.nanmean(np.maximum((now - target) ** 2, (near - target) ** 2)) / 2

    def gradients(positions: int) -> tuple[float, list[torch.Tensor]]:
        model.zero_grad()
        critic.optimizer.zero_grad()
        critic.aim(samples)
        total = 0.0
        for batch in BATCHERS["padded"](samples, positions):
            loss = critic.loss(batch.forward(model))
            loss.backward()
            total += loss.item()
        parameters = [*critic.head.parameters(), *model.base_model.parameters()]
        return total, [p.grad.clone() for p in parameters]

    whole, parts = gradients(512), gradients(1)
    assert whole[0] == pytest.approx(expected, rel=1e-4)
    assert parts[0] == pytest.approx(expected, rel=1e-4)
    for one, two in zip(whole[1], parts[1], strict=True):
        torch.testing.assert_close(one, two, atol=1e-4, rtol=1e-3)


def test_how_much_of_its_gradient_reaches_the_policy(model: LlamaForCausalLM) -> None:
    trajectories, table = played()
    samples = samples_for(trajectories, table)
    for sample in samples:
        sample.columns["values"] = sample.columns["returns"] = np.ones(len(sample.ids), np.float32)
    found = []
    for share in (0.0, 0.5, 1.0):
        critic = critic_of(model, trunk=share)
        model.zero_grad()
        critic.aim(samples)
        for batch in BATCHERS["padded"](samples, 512):
            critic.loss(batch.forward(model)).backward()
        found.append([p.grad.clone() if p.grad is not None else None for p in model.base_model.parameters()])
        assert critic.head.linear.weight.grad.abs().sum() > 0
    assert all(g is None for g in found[0])
    for half, full in zip(found[1], found[2], strict=True):
        torch.testing.assert_close(2 * half, full)


def test_it_learns_what_its_states_tell(model: LlamaForCausalLM) -> None:
    """Returns that differ by what was seen: the loss falls to a fraction, without touching the policy."""
    trajectories, table = played()
    critic = Critic(ValueConfig(lr=0.05, clip=None), model)
    samples = samples_for(trajectories, table)
    target = np.array([1.0, -1.0, 0.5, 0.0])
    losses = []
    for _ in range(150):
        for sample in samples:
            sample.columns["returns"] = np.where(sample.turn >= 0, target[sample.turn], np.nan).astype(np.float32)
            sample.columns["values"] = sample.columns["returns"]
        critic.aim(samples)
        total = 0.0
        for batch in BATCHERS["padded"](samples, 512):
            loss = critic.loss(batch.forward(model))
            loss.backward()
            total += loss.item()
        critic.step(1.0, 1.0)
        losses.append(total)
    assert losses[-1] < 0.05 * losses[0]
    assert all(p.grad is None for p in model.parameters())


@pytest.fixture(scope="module", params=["gae", "gae-token"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ppo") / "run"
    Training.new(recipe(f"credit=[{request.param},whiten]", "iterations=4"), folder).run()
    return folder


def recipe(*changes: str) -> object:
    return api.recipe_for("household-ppo", [*SMALL, *changes])


def head(run: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = checkpoint.load_state(run / "checkpoints" / "last")["learner"]["critic"]["head"]
    return found


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def test_a_run_of_ppo(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all(line["update"]["logprob_gap"] < 1e-5 for line in lines)
    assert any(line["update"]["value_loss"] > 0 for line in lines)
    assert lines[0]["value"]["mean"] == 0
    assert lines[-1]["value"]["mean"] != 0
    assert head(whole)["linear.weight"].abs().sum() > 0


def test_what_the_run_stored_is_what_its_weights_say(whole: Path) -> None:
    """Values of the third iteration, by the weights after the second."""
    groups = store.read(whole / "trajectories" / "000003.parquet")
    trajectories = {t.id: t for group in groups for t in group}
    table = TurnTable.from_groups(groups)
    stored = ledger.trained(whole / "credit" / "000003.parquet", groups)
    place = whole / "checkpoints" / "000003"
    model = load_model(place)[0]
    critic = Critic(ValueConfig(), model)
    critic.load(checkpoint.load_state(place)["learner"]["critic"])
    samples = samples_for([trajectories[id] for id in table.ids], table)
    found = scored(table, samples, critic.values(model, samples, "padded", 4096), {})
    np.testing.assert_allclose(stored.token_values, found.token_values, atol=1e-6)
    cut = np.isin(stored.ended, ["max_turns"])
    assert cut.any()
    assert np.isfinite(stored.last_value).all()
    assert (stored.last_value[cut] != 0).all()
    assert (stored.last_value[~cut] == 0).all()


def test_resume_ends_with_the_same_head_to_the_bit(whole: Path, tmp_path: Path) -> None:
    methods = (whole / "recipe.yaml").read_text()
    id = "gae-token" if "gae-token" in methods else "gae"
    Training.new(recipe(f"credit=[{id},whiten]", "iterations=2"), tmp_path / "run").run()
    Training.resume(tmp_path / "run", iterations=4).run()
    for of in (head, weights):
        first, second = of(whole), of(tmp_path / "run")
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["value=null"], r"credit gae needs values, which nothing in the recipe gives: set value=\{\}"),
        (["credit=[grpo]"], "value: no estimator in credit says what values should have been"),
        (["credit=[gae,gae-token]"], "gae and gae-token would both teach the value head"),
    ],
)
def test_recipes_that_cannot_work_are_refused(changes: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        Training.new(api.recipe_for("household-ppo", [*SMALL, *changes]), tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


def test_what_would_have_been_asked_next_is_what_the_next_turn_was_asked() -> None:
    """An episode of three turns, cut: its next prompt is the fourth prompt of the same episode played longer."""
    import asyncio

    from agentrl.policies.transformers import TransformersPolicy
    from agentrl.rollout.episode import Job
    from agentrl.rollout.limits import Limits
    from agentrl.trainers.loop import load_agent

    model, tokenizer = load_model(locate("small"))
    agent = load_agent(locate("small"))
    assert agent is not None
    task = Task("agentrl/Household-v0", "tiny-train-00003", (("size", "tiny"),))
    found = []
    for turns in (3, 4):
        policy = TransformersPolicy(model, tokenizer)
        rollout = Rollout(policy, agent, Limits(turns=turns, turn_tokens=12))
        [trajectory] = asyncio.run(rollout.run([Job("a", task, 5)]))
        found.append((rollout, trajectory))
    (short, cut), (_, longer) = found
    assert len(longer.turns) == 4
    np.testing.assert_array_equal(short.next_prompt(cut)[0], longer.turns[3].prompt_ids)
    fresh = Rollout(short.policy, agent, Limits())  # as after a resume: it has played nothing
    np.testing.assert_array_equal(fresh.next_prompt(cut)[0], longer.turns[3].prompt_ids)
