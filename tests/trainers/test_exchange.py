"""Names exchanged in demonstrations: consistent, different for each trajectory, and nothing else touched."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.errors import UserError
from agentrl.trainers.exchange import exchanged
from agentrl.trainers.models import train_tokenizer
from agentrl.trainers.options import validated
from agentrl.trainers.sft import SFTConfig, Transcripts
from agentrl.types import Task, ToolCall, Trajectory, Turn

CODE = re.compile(r"(?<=\[)[a-z]\d(?=\])")
CODES = [f"{letter}{digit}" for letter in "abcd" for digit in range(5)]


def shop(*codes, env="E-v0"):
    """A trajectory of two turns: a list and a choice, a page and a purchase."""
    first, *_ = codes
    listed = "for sale: " + " ".join(f"[{code}]" for code in codes)
    turns = [Turn(listed, action=f"click[{first}]"), Turn(f"[{first}] costs a1 dollar", action="buy")]
    return Trajectory("t", Task(env, 0), 0, turns)


def said(trajectory):
    return [(turn.observation, turn.action) for turn in trajectory.turns]


@given(st.lists(st.lists(st.sampled_from(CODES), min_size=1, max_size=6, unique=True), min_size=1, max_size=5))
def test_names_change_together_and_stay_different(lists):
    """Also: who reads only the text cannot tell that anything was exchanged."""
    before = [shop(*codes) for codes in lists]
    after = exchanged(before, CODE, seed=0)
    there = {code for codes in lists for code in codes}
    for codes, trajectory in zip(lists, after, strict=True):
        new = CODE.findall(trajectory.turns[0].observation)
        assert len(set(new)) == len(codes)
        assert set(new) <= there
        assert said(trajectory) == said(shop(*new))


def test_every_trajectory_has_a_draw_of_its_own_from_the_seed():
    before = [shop(*CODES[:8]) for _ in range(20)]

    def chosen(seed):
        return [trajectory.turns[0].action for trajectory in exchanged(before, CODE, seed)]

    assert len(set(chosen(0))) > 4
    assert chosen(0) == chosen(0) != chosen(1)
    assert said(before[0]) == said(shop(*CODES[:8]))  # what was given is left as it was


def test_calls_messages_and_labels_are_exchanged_too_but_not_what_things_are_called():
    turn = Turn(
        [{"role": "user", "content": "[a1] or [b2]?", "[a1]": "key"}],
        action=[ToolCall("[a1]", item="[b2]", near=["[a1]"], many=3)],
        info={"label": "take [b2]", "noise": True},
    )
    other = Turn("[c3] [d4]", action="look")
    first = exchanged(
        [Trajectory("t", Task("E-v0", 0), 0, [turn]), Trajectory("u", Task("E-v0", 1), 0, [other])], CODE, 1
    )
    (new,) = first[0].turns
    a, b = CODE.findall(new.observation[0]["content"])
    assert (a, b) != ("a1", "b2")
    assert new.observation == [{"role": "user", "content": f"[{a}] or [{b}]?", "[a1]": "key"}]
    assert new.action == [ToolCall("[a1]", item=f"[{b}]", near=[f"[{a}]"], many=3)]
    assert new.info == {"label": f"take [{b}]", "noise": True}


def test_what_was_sampled_is_kept_where_nothing_changed():
    ids = {"prompt_ids": np.array([1, 2]), "completion_ids": np.array([3]), "logprobs": [-1.0], "entropies": [0.5]}
    turns = [
        Turn("nothing", text="look", action="look", versions=[(0, 0)], **ids),
        Turn("[a1] [b2]", text="click[a1]", action="click[a1]", versions=[(0, 0)], **ids),
    ]
    plain, named = exchanged([Trajectory("t", Task("E-v0", 0), 0, turns)], CODE, 3)[0].turns
    assert plain is turns[0]
    assert named.text == named.action != "click[a1]"
    assert not len([*named.completion_ids, *named.prompt_ids])


def test_sft_learns_the_exchanged_names():
    world = ("Buy what is first.", [])
    played = [shop(*CODES[i : i + 4]) for i in range(16)]
    tokenizer = train_tokenizer([turn.observation for t in played for turn in t.turns] * 3, 320)

    def learnt(**settings):
        config = validated(SFTConfig, "sft", settings)
        made = Transcripts({"E-v0": ChatAgent(tokenizer, AgentConfig(), *world)}, config).samples(played)
        return [tokenizer.decode(s.ids[s.weight > 0]) for s in made]

    names = {"exchange": CODE.pattern}
    assert learnt()[0] == "<action>click[a0]</action><action>buy</action>"
    assert learnt(**names) == learnt(**names) != learnt() != learnt(**names, seed=1)


def test_a_pattern_that_is_none_is_refused():
    with pytest.raises(Exception, match=r"exchange.*regular expression") as refused:
        validated(SFTConfig, "sft", {"exchange": "[a-"})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("pattern", "found"), [("q9", "nothing"), ("x*", "empty text")])
def test_a_pattern_without_names_is_refused(pattern, found):
    with pytest.raises(UserError, match=f"matches {found} in what was played"):
        exchanged([shop("a1", "b2")], re.compile(pattern), 0)
