"""The token record checks itself; segments follow from the ids alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.types import Group, StopReason, Task, ToolCall, Trajectory, Turn, continues


def turn(prompt, completion, **fields):
    n = len(completion)
    fields = {"logprobs": -np.arange(1, n + 1), "entropies": np.ones(n), "versions": [(0, 3)] if n else []} | fields
    return Turn("seen", prompt_ids=prompt, completion_ids=completion, **fields)


def trajectory(*turns):
    return Trajectory("t", Task("E-v0", 1), 0, list(turns))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"logprobs": [-1.0]}, "2 ids, 1 logprobs, 2 entropies"),
        ({"entropies": [1.0, 1.0, 1.0]}, "2 ids, 2 logprobs, 3 entropies"),
        ({"logprobs": [-1.0, -np.inf]}, "token 1 is not"),
        ({"logprobs": [np.nan, -1.0]}, "token 0 is not"),
        ({"prompt_ids": []}, "needs the prompt ids"),
        ({"versions": []}, "version spans"),
        ({"versions": [(1, 0)]}, "version spans"),
        ({"versions": [(0, 0), (2, 1)]}, "version spans"),
        ({"versions": [(0, 0), (1, 1), (1, 2)]}, "version spans"),
    ],
)
def test_a_broken_token_record_is_refused(fields, message):
    whole = {
        "prompt_ids": [1],
        "completion_ids": [5, 6],
        "logprobs": [-1.0, -2.0],
        "entropies": [1.0, 1.0],
        "versions": [(0, 0)],
    }
    Turn("seen", **whole)
    with pytest.raises(ValueError, match=message):
        Turn("seen", **(whole | fields))


def test_version_spans_within_a_completion():
    assert turn([1], [2, 3, 4], versions=[(0, 7), (2, 8)]).versions == [(0, 7), (2, 8)]


def test_turns_that_continue_each_other_are_one_segment_and_only_sampled_tokens_are_marked():
    first, second = turn([1, 2], [3, 4]), turn([1, 2, 3, 4, 9, 9], [5])
    (segment,) = trajectory(first, second).segments()
    assert segment.ids.tolist() == [1, 2, 3, 4, 9, 9, 5]
    assert segment.sampled.tolist() == [False, False, True, True, False, False, True]
    assert segment.logprobs.tolist() == [0, 0, -1, -2, 0, 0, -1]
    assert segment.turn.tolist() == [-1, -1, 0, 0, -1, -1, 1]


def test_rewritten_history_begins_a_new_segment():
    turns = [turn([1, 2], [3]), turn([1, 2, 4, 9], [5]), turn([1, 2, 4, 9, 5], [6])]
    segments = trajectory(*turns).segments()
    assert [s.ids.tolist() for s in segments] == [[1, 2, 3], [1, 2, 4, 9, 5, 6]]
    assert [s.turn.tolist() for s in segments] == [[-1, -1, 0], [-1, -1, -1, -1, 1, 2]]


def test_what_an_untrained_policy_sampled_is_context():
    turns = [turn([1], [2], trainable=False), turn([1, 2, 3], [4])]
    (segment,) = trajectory(*turns).segments()
    assert segment.sampled.tolist() == [False, False, False, True]


def test_turns_without_ids_are_skipped():
    (segment,) = trajectory(turn([1], [2]), Turn("scripted"), turn([1, 2, 3], [4])).segments()
    assert segment.turn.tolist() == [-1, 0, -1, 2]
    assert trajectory(Turn("scripted")).segments() == []


ids = st.lists(st.integers(0, 3), min_size=1, max_size=4)


@given(st.lists(st.tuples(ids, ids, st.booleans()), min_size=1, max_size=6))
def test_segments_cover_every_sampled_token_once_and_keep_its_history(parts):
    turns, history = [], []
    for new, completion, forget in parts:
        prompt = new if forget else history + new
        turns.append(turn(prompt, completion))
        history = prompt + completion
    segments = trajectory(*turns).segments()
    assert sum(int(s.sampled.sum()) for s in segments) == sum(len(t.completion_ids) for t in turns)
    assert len(segments) == 1 + sum(not continues(a, b) for a, b in itertools.pairwise(turns))
    for segment in segments:
        for i in {int(i) for i in segment.turn if i >= 0}:
            where = np.flatnonzero(segment.turn == i)
            assert segment.ids[: where[0]].tolist() == turns[i].prompt_ids.tolist()
            assert segment.ids[where].tolist() == turns[i].completion_ids.tolist()
            assert segment.logprobs[where].tolist() == turns[i].logprobs.tolist()


def test_failed_stops_are_not_trusted():
    failed = {
        StopReason.ENV_ERROR,
        StopReason.ENV_TIMEOUT,
        StopReason.ENV_INVALID,
        StopReason.ENV_CRASH,
        StopReason.ENV_LOST,
        StopReason.POLICY_ERROR,
        StopReason.REPLAY_DIVERGED,
    }
    assert {reason for reason in StopReason if reason.failed} == failed
    one = trajectory()
    one.stop = StopReason.ENV_ERROR
    assert not one.trusted


def test_rewards_add_up_over_parts_and_turns():
    one = trajectory(Turn("a", rewards={"goal": 1.0, "cost": -0.25}), Turn("b", rewards={"goal": 0.5}))
    assert one.reward == 1.25
    assert ToolCall("x", a=1) == ToolCall("x", a=1) != ToolCall("x", a=2)


def test_groups_and_trajectories_are_said_in_a_line() -> None:
    t = Trajectory("g-0", Task("E-v0", 3), 0, [Turn("saw", rewards={"r": 0.5})], success=True)
    assert repr(t) == "Trajectory('g-0', E-v0#3, 1 turns, reward 0.5, success)"
    assert repr(Group(t.task, "g", [t])) == "Group('g', E-v0#3, 1 of 1 successful)"
    t.stop, t.error = StopReason.ENV_ERROR, "it broke"
    assert "failed: it broke" in repr(t)
