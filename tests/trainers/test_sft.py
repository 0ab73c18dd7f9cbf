"""Behaviour cloning: what carries loss, that ten transcripts can be learnt by heart, and that seeds decide all."""

import numpy as np
import pytest
import torch

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.trainers.models import new_model, train_tokenizer
from agentrl.trainers.sft import SFTConfig, Transcripts, fit, texts_of, with_noise
from agentrl.types import Task, ToolCall, Trajectory, Turn

WORLDS = {
    "E-v0": ("You are in a room.", []),
    "T-v0": ("Use tools.", [{"type": "function", "function": {"name": "go"}}]),
}


def trajectory(turns, env="E-v0"):
    made = [Turn(seen, action=action, info={"noise": True} if noise else {}) for seen, action, noise in turns]
    return Trajectory("t", Task(env, 0), 0, made)


def ten():
    places = [f"{kind} {n}" for kind in ("desk", "shelf") for n in range(1, 6)]
    return [
        trajectory([(f"find {place}", f"go to {place}", False), (f"you see {place}", "look", False)])
        for place in places
    ]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(texts_of(ten(), WORLDS, AgentConfig()) * 4, 384)


def samples(tokenizer, trajectories, agent=None, **config):
    agents = {env: ChatAgent(tokenizer, agent or AgentConfig(), *told) for env, told in WORLDS.items()}
    return Transcripts(agents, SFTConfig(**config)).samples(trajectories)


def learnt(tokenizer, sample, least=1e-9):
    return tokenizer.decode(sample.ids[sample.weight > least])


def test_only_completions_carry_loss(tokenizer):
    (s,) = samples(tokenizer, [trajectory([("one", "go north", False), ("two", "look", False)])])
    assert learnt(tokenizer, s) == "<action>go north</action><action>look</action>"
    assert set(np.unique(s.weight)) == {0.0, 1.0}
    assert "<|user|>two<|end|><|assistant|><action>look</action>" in tokenizer.decode(s.ids)


def test_observations_may_carry_a_little(tokenizer):
    (s,) = samples(tokenizer, [trajectory([("one", "look", False)])], observation_weight=0.25)
    assert learnt(tokenizer, s, 0.5) == "<action>look</action>"
    assert set(np.unique(s.weight)) == {0.25, 1.0}


def test_the_layout_of_batches_changes_only_the_cost(tokenizer):
    made = samples(tokenizer, ten(), observation_weight=0.25)

    def loss(batcher):
        return fit(new_model("1m", tokenizer, 128, 0), made, SFTConfig(batch=5, batcher=batcher))

    assert loss("trie") == pytest.approx(loss("padded"), rel=1e-4)


@pytest.mark.parametrize("observed", [0.0, 0.25])
def test_noise_can_be_left_out(tokenizer, observed):
    played = [trajectory([("one", "dance", True), ("two", "look", False)])]
    (s,) = samples(tokenizer, played, observation_weight=observed)
    assert "dance" in learnt(tokenizer, s, 0.5)
    clean = with_noise(s, 0)
    assert learnt(tokenizer, clean, 0.5) == "<action>look</action>"
    assert "dance" in tokenizer.decode(clean.ids)
    assert "dance" not in learnt(tokenizer, clean, 0.0)


def test_noise_comes_when_it_is_told_to(tokenizer):
    played = [trajectory([("one", "dance", True), (f"see {i}", f"go {i}", False)]) for i in range(10)]

    def fitted(made, **config):
        model = new_model("1m", tokenizer, 128, 0)
        fit(model, made, SFTConfig(epochs=2, batch=5, **config))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    made = samples(tokenizer, played)
    always, late, never = (fitted(made, noise_from=share) for share in (0.0, 0.5, 1.0))
    assert torch.equal(never, fitted([with_noise(s, 0) for s in made]))
    assert not torch.equal(late, always)
    assert not torch.equal(late, never)
    assert torch.equal(never, fitted(made, noise_weight=0.0))
    assert torch.equal(fitted(made, noise_weight=3.0), fitted([with_noise(s, 3) for s in made]))
    fitted(samples(tokenizer, [trajectory([("one", "dance", True)])]), noise_from=1.0)  # nothing to learn: no NaN


def test_what_carries_no_loss_is_not_computed(tokenizer):
    """With a window each turn is a sample: one of noise alone would only cost."""
    played = [trajectory([("one", "dance", True), (f"see {i}", f"go {i}", False)]) for i in range(6)]
    made = samples(tokenizer, played, AgentConfig(context=0))
    model = new_model("1m", tokenizer, 128, 0)
    rows = []
    model.model.register_forward_pre_hook(lambda _, args, given: rows.append(len(given["input_ids"])), with_kwargs=True)
    fit(model, made, SFTConfig(batch=6, noise_from=1.0))
    assert (len(made), rows) == (12, [6])


def test_tool_calls_and_answers_end_with_the_end_of_turn(tokenizer):
    call = ToolCall("go", to="desk 1")
    played = trajectory([("one", call, False), ([{"role": "tool", "content": "ok"}], "done", False)], "T-v0")
    (s,) = samples(tokenizer, [played])
    assert (
        learnt(tokenizer, s) == '<tool_call>{"name": "go", "arguments": {"to": "desk 1"}}</tool_call><|end|>done<|end|>'
    )


def test_a_context_rule_that_rewrites_history_gives_more_samples(tokenizer):
    played = [trajectory([(f"see {i}", f"go {i}", False) for i in range(4)])]
    assert len(samples(tokenizer, played)) == 1
    made = samples(tokenizer, played, AgentConfig(context=1))
    assert len(made) > 1
    assert "".join(learnt(tokenizer, s) for s in made) == "".join(f"<action>go {i}</action>" for i in range(4))


def test_unreadable_turns_are_left_out(tokenizer):
    (s,) = samples(tokenizer, [trajectory([("one", None, False), ("two", "look", False)])])
    assert learnt(tokenizer, s) == "<action>look</action>"


def test_texts_hold_instructions_observations_actions_and_tools():
    played = [
        *ten()[:1],
        trajectory([([{"role": "user", "content": "hello"}], ToolCall("go", to="desk"), False)], "T-v0"),
    ]
    said = "\n".join(texts_of(played, WORLDS, AgentConfig()))
    for part in ("You are in a room.", "find desk 1", "go to desk 1", '{"name": "go"}', "hello", '"to": "desk"'):
        assert part in said


def test_ten_transcripts_are_learnt_by_heart(tokenizer):
    model = new_model("1m", tokenizer, 128, 0)
    made = samples(tokenizer, ten())
    seen = []
    loss = fit(model, made, SFTConfig(epochs=40, batch=5, warmup=5), lambda *now: seen.append(now))
    assert len(seen) == 80
    assert seen[0][2] > 2.0
    assert loss < 0.02
    with torch.no_grad():
        for s in made:
            likeliest = model(torch.from_numpy(s.ids.astype(np.int64))[None]).logits[0].argmax(-1).numpy()
            on = np.flatnonzero(s.weight)
            assert likeliest[on - 1].tolist() == s.ids[on].tolist()


def test_the_same_seed_gives_the_same_weights_and_micro_batches_do_not_matter(tokenizer):
    def fitted(**config):
        model = new_model("1m", tokenizer, 128, 0)
        fit(model, samples(tokenizer, ten()), SFTConfig(**{"epochs": 2, "batch": 5, "seed": 1} | config))
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    first = fitted()
    assert torch.equal(first, fitted())
    assert not torch.equal(first, fitted(seed=2))
    assert (first - fitted(positions=64)).abs().max() < 2e-3  # Adam's first steps turn rounding into signs


def sampled(tokenizer, agent, replies, labels, system=None):
    """What a policy that wrote ``replies`` itself would have left behind, with the expert's answers."""
    chat = agent.start()
    turns = []
    for index, (reply, label) in enumerate(zip(replies, labels, strict=True)):
        ids = np.asarray(agent.encode(reply), np.int32)
        turn = Turn(f"see {index}", prompt_ids=chat.prompt(f"see {index}"), text=reply, info={"label": label})
        turn.completion_ids, turn.logprobs, turn.entropies = ids, np.zeros(len(ids)), np.zeros(len(ids))
        turn.versions, turn.valid = [(0, 0)], reply.startswith("<action>")
        turn.action = reply[8:-9] if turn.valid else None
        turn.__post_init__()
        chat.reply(ids, reply)
        turns.append(turn)
    return Trajectory("t", Task("E-v0", 0), 0, turns)


def test_labels_are_learnt_after_what_the_policy_itself_did(tokenizer):
    agent = ChatAgent(tokenizer, AgentConfig(), *WORLDS["E-v0"])
    replies = ["<action>look</action>", "<act nonsense", "<action>go desk</action>"]
    played = sampled(tokenizer, agent, replies, ["look", "go shelf", "look"])
    first, second, whole = samples(tokenizer, [played])
    assert learnt(tokenizer, whole) == "<action>look</action>"  # where it did what the expert would have done
    assert [learnt(tokenizer, s) for s in (first, second)] == ["<action>go shelf</action>", "<action>look</action>"]
    for s, turn in zip((first, second), played.turns[1:], strict=True):
        n = len(turn.prompt_ids)
        assert s.ids[:n].tolist() == turn.prompt_ids.tolist()  # id for id what the policy saw
        assert not s.weight[:n].any()
    assert "<act nonsense" in tokenizer.decode(second.ids)
    assert whole.ids.tolist() == [*played.turns[-1].prompt_ids, *played.turns[-1].completion_ids]


def test_what_a_policy_sampled_is_learnt_as_it_was_sampled(tokenizer):
    agent = ChatAgent(tokenizer, AgentConfig(), *WORLDS["E-v0"])
    played = sampled(tokenizer, agent, ["<action>go  desk</action>"], [None])
    (s,) = samples(tokenizer, [played])
    assert learnt(tokenizer, s) == "<action>go  desk</action>"
    other = AgentConfig(system="Be brief.")  # an agent that asks otherwise says the same action in its own words
    played.turns[0].action = "go desk"
    (s,) = samples(tokenizer, [played], agent=other)
    assert learnt(tokenizer, s) == "<action>go desk</action>"
