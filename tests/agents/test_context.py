"""Context rules: what a prompt shows, and that turns become segments by their ids alone."""

import numpy as np
import pytest
from pydantic import ValidationError

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.agents.context import history, rule_of, summary, window
from agentrl.errors import UserError
from agentrl.trainers.models import train_tokenizer
from agentrl.types import Task, Trajectory, Turn

TOKENIZER = train_tokenizer(["<memory>the key is in room 2</memory><action>go</action> you see a room"], 384)


def say(role, content):
    return {"role": role, "content": content}


TALK = [
    say("assistant", "<memory>one</memory>a"),
    say("user", "1"),
    say("assistant", "b <memory> two </memory> <memory>three</memory>"),
    say("user", "2"),
    say("assistant", "c"),
    say("user", "3"),
]


def played(context, replies, **more):
    """A trajectory as the runner records it, with these replies."""
    agent = ChatAgent(TOKENIZER, AgentConfig(format="text", context=context, **more), "Play.", [])
    chat, t = agent.start(), Trajectory("t", Task("E-v0", 0), 0)
    for index, reply in enumerate(replies):
        prompt = chat.prompt(f"see {index}")
        ids = np.asarray([*agent.encode(reply), agent.end_id], np.int32)
        zeros = np.zeros(len(ids), np.float32)
        t.turns.append(
            Turn(
                f"see {index}",
                prompt_ids=prompt,
                completion_ids=ids,
                logprobs=zeros,
                entropies=zeros,
                versions=[(0, 0)],
            )
        )
        chat.reply(ids, reply)
    return t, [TOKENIZER.decode(turn.prompt_ids) for turn in t.turns]


def test_a_summary_is_the_latest_notes_and_what_is_new():
    assert summary(TALK) == [say("user", "Your notes:\nthree"), say("user", "3")]
    assert summary(TALK[:2]) == [say("user", "Your notes:\none"), say("user", "1")]
    assert summary(TALK[4:]) == [say("user", "3")]
    assert summary([]) == []


def test_a_window_is_the_last_turns():
    assert window(0, TALK) == TALK[-1:]
    assert window(1, TALK) == TALK[-2:]
    assert window(9, TALK) == TALK


def test_notes_are_all_that_an_agent_sees_of_the_past():
    t, prompts = played("summary", ["<memory>red key</memory>go", "look", "<memory>blue</memory>stop", "end"])
    assert "notes" in prompts[0]  # it is told how
    assert "red key" in prompts[1]
    assert "red key" in prompts[2]
    assert "look" not in prompts[2]
    assert "red key" not in prompts[3]
    assert "blue" in prompts[3]
    assert all("see 0" in prompt for prompt in prompts)  # the task stays
    assert len(t.segments()) == 4
    assert sum(int(s.sampled.sum()) for s in t.segments()) == t.sampled_tokens


@pytest.mark.parametrize(("context", "segments"), [("full", 1), (0, 3), (5, 1), ("summary", 3)])
def test_segments_follow_from_the_ids(context, segments):
    assert len(played(context, ["go", "<memory>x</memory>", "go"])[0].segments()) == segments


def test_a_rule_of_ones_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def last(messages):\n    return messages[-1:]\n\ndef wrong(messages):\n    return 'no'\n")
    _, prompts = played(f"{file}:last", ["go", "look", "go"])
    assert "go" not in prompts[1].split("see 0")[1]
    with pytest.raises(UserError, match="must return a list of messages"):
        played(f"{file}:wrong", ["go", "look"])
    with pytest.raises(UserError, match=r"unknown context rule of .*mine.py: 'other'"):
        rule_of(f"{file}:other")


def test_what_names_no_rule_is_refused():
    for wrong in (-1, "half", "file.py:"):
        with pytest.raises(ValidationError, match="context"):
            AgentConfig(context=wrong)
    assert AgentConfig(context="summary").appends is False


def test_an_episode_is_taken_up_where_it_was():
    for context in ("summary", 1, "full"):
        t, _ = played(context, ["<memory>red</memory>go", "look", "go"])
        replies = ["<memory>red</memory>go", "look", "go"]
        for turn, reply in zip(t.turns, replies, strict=True):
            turn.text = reply
        agent = ChatAgent(TOKENIZER, AgentConfig(format="text", context=context), "Play.", [])
        chat = agent.start()
        chat.resume(t.turns[:2])
        assert chat.prompt("see 2").tolist() == t.turns[2].prompt_ids.tolist()


def test_an_episode_draws_how_much_history_it_sees_and_keeps_to_it():
    counts = [sum(history(2, lean, seed) == h for seed in range(600)) for lean in (0.0, 2.0) for h in range(3)]
    assert all(abs(n - 200) < 50 for n in counts[:3])
    want = [np.exp(2.0 * h) for h in range(3)]
    assert all(abs(n / 600 - w / sum(want)) < 0.06 for n, w in zip(counts[3:], want, strict=True))
    seed = next(seed for seed in range(100) if history(3, 0.0, seed) == 2)
    rule = rule_of("history(3)", seed)
    assert rule(TALK) == window(2, TALK)
    assert rule(TALK[:2]) == window(2, TALK[:2])
    assert rule_of("history(3, 2.5)", seed)(TALK) in [window(k, TALK) for k in range(4)]
    for wrong in ("history()", "history(-1)", "history(2"):
        with pytest.raises(ValidationError, match="history"):
            AgentConfig(context=wrong)
