"""One episode: how it ends, what is blamed for it, and what a turn records, with environments that misbehave."""

import asyncio
import time

import numpy as np
import pytest

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.envs.core import Env
from agentrl.errors import UserError
from agentrl.policies.base import Completion, Counters, Policy
from agentrl.policies.scripted import Idle
from agentrl.rollout.episode import MAX_CHARS, Episode, Job
from agentrl.rollout.limits import Limits
from agentrl.trainers.models import train_tokenizer
from agentrl.types import StopReason, Task, ToolRecord

TOKENIZER = train_tokenizer(["<action>go</action> ok start"], 320)
OK = ("ok", 0.0, False, False, {})


def fake(step=lambda env, action: OK, reset=lambda env: ("start", {}), blocking=False, **attributes):
    """Any environment, well-behaved or not, from what its two methods do."""

    def do_reset(self, *, seed=None, options=None):
        self.steps, self.seed, self.options = [], seed, options
        return reset(self)

    def do_step(self, action):
        self.steps.append(action)
        return step(self, action)

    return type("Fake", (Env,), {"reset": do_reset, "step": do_step, "blocking": blocking} | attributes)()


def fail(error):
    def do(*_):
        raise error

    return do


def end(reward=0.0, terminated=True, truncated=False, **info):
    return lambda env, action: ("end", reward, terminated, truncated, info)


class Says:
    """A policy that gives fixed replies, the last one over and over."""

    name, tokenizer, window = "says", TOKENIZER, 1000

    def __init__(self, *replies, window=1000, **broken):
        self.replies, self.window, self.broken, self.asked, self.counters = replies, window, broken, [], Counters()

    def expect(self, live):
        pass

    async def generate(self, request):
        reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
        self.asked.append(request)
        if isinstance(reply, Exception):
            raise reply
        ids = np.asarray(TOKENIZER(reply)["input_ids"][: request.max_tokens], np.int32)
        fields = {
            "logprobs": np.full(len(ids), -1.0),
            "entropies": np.ones(len(ids)),
            "finish": "stop",
            "versions": [(0, 4)],
        }
        return Completion(ids, **(fields | self.broken))


GO = "<action>go</action>"


def play(env, policy=None, config=None, **limits):
    policy = policy or Says(GO)
    agent = ChatAgent(TOKENIZER, AgentConfig(**(config or {})), "", []) if isinstance(policy, Policy) else None
    episode = Episode(Job("e", Task("Fake-v0", 7), 5, key=(1, 2)), env, policy, agent, Limits(**limits))
    return asyncio.run(episode.play()), episode


@pytest.mark.parametrize(
    ("env", "limits", "stop", "turns"),
    [
        (fake(end(1.0)), {}, StopReason.TERMINATED, 1),
        (fake(end(0.0, False, True)), {}, StopReason.TRUNCATED, 1),
        (fake(end(1.0, True, True)), {"turns": 1}, StopReason.TERMINATED, 1),
        (fake(max_turns=3), {}, StopReason.MAX_TURNS, 3),
        (fake(max_turns=3), {"turns": 2}, StopReason.MAX_TURNS, 2),
        (fake(), {"episode_tokens": 10}, StopReason.MAX_TOKENS, None),
        (fake(), {}, StopReason.WINDOW, None),
        (fake(lambda *_: ("x " * 2000, 0.0, False, False, {})), {}, StopReason.WINDOW, 1),
        (fake(reset=lambda env: ("x " * 2000, {})), {}, StopReason.WINDOW, 0),
    ],
)
def test_every_end_has_its_name(env, limits, stop, turns):
    trajectory, episode = play(env, **limits)
    assert trajectory.stop is stop
    assert turns is None or len(trajectory.turns) == turns
    assert trajectory.trusted
    assert trajectory.error is episode.trace is None


BLAMED = {
    "step raises": fake(fail(KeyError("lost"))),
    "step raises in its thread": fake(fail(KeyError("lost")), blocking=True),
    "reset raises": fake(reset=fail(ZeroDivisionError("no"))),
    "reset returns one thing": fake(reset=lambda env: "start"),
    "step returns three things": fake(lambda *_: ("ok", 0.0, False)),
    "step returns nothing": fake(lambda *_: None),
    "info is nothing": fake(lambda *_: ("ok", 0.0, False, False, None)),
    "the reward is no number": fake(lambda *_: ("ok", "much", False, False, {})),
    "the reward is not finite": fake(lambda *_: ("ok", float("nan"), False, False, {})),
    "a named reward is not finite": fake(lambda *_: ("ok", 0.0, False, False, {"rewards": {"a": float("inf")}})),
    "a score is not finite": fake(lambda *_: ("ok", 0.0, False, False, {"scores": {"a": float("nan")}})),
    "told beside the state key, a potential that is not finite raises": fake(potential=lambda self: float("inf")),
    "the observation is nothing": fake(lambda *_: (None, 0.0, False, False, {})),
    "the first observation is a number": fake(reset=lambda env: (3, {})),
    "the observation is far too large": fake(lambda *_: ("x" * (MAX_CHARS + 1), 0.0, False, False, {})),
    "messages without content": fake(lambda *_: ([{"role": "tool"}], 0.0, False, False, {})),
    "the state key raises": fake(state_key=lambda self: [][0]),
    "the state key is an object": fake(state_key=lambda self: object()),
}


@pytest.mark.parametrize("case", BLAMED)
def test_what_the_environment_does_wrong_fails_the_episode_and_nothing_else(case):
    trajectory, episode = play(BLAMED[case], turns=3)
    raised = "raises" in case or "object" in case
    assert trajectory.stop is (StopReason.ENV_ERROR if raised else StopReason.ENV_INVALID)
    where = "state_key" if "key" in case else "reset" if "reset" in case or "first" in case else "step"
    assert trajectory.info["failed_in"] == where
    assert not trajectory.trusted
    assert trajectory.error
    assert len(trajectory.error.splitlines()) == 1
    assert "Traceback" in episode.trace
    assert not trajectory.success


def test_an_environment_that_raises_without_calling_back():
    class Sudden(Env):
        blocking = False

        def areset(self, *, seed=None, options=None):  # not even a coroutine
            raise OSError("gone")

    trajectory, _ = play(Sudden())
    assert (trajectory.stop, trajectory.error) == (StopReason.ENV_ERROR, "OSError: gone")


def test_what_the_policy_raises_is_the_policys():
    trajectory, _ = play(fake(), Says(GO, RuntimeError("no memory")), turns=3)
    assert (trajectory.stop, trajectory.error) == (StopReason.POLICY_ERROR, "RuntimeError: no memory")
    assert len(trajectory.turns) == 1


def test_broken_token_records_never_reach_a_trajectory():
    for broken in ({"logprobs": np.full(5, np.nan)}, {"entropies": np.ones(2)}, {"logprobs": np.zeros(0)}):
        trajectory, _ = play(fake(), Says(GO, **broken), turns=2)
        assert trajectory.stop is StopReason.POLICY_ERROR
        assert trajectory.turns == []


def test_a_step_past_its_deadline_is_a_timeout_in_time():
    begin = time.perf_counter()
    trajectory, _ = play(fake(lambda *_: time.sleep(2) or OK, blocking=True), step_seconds=0.05)
    assert time.perf_counter() - begin < 2
    assert trajectory.stop is StopReason.ENV_TIMEOUT
    assert not trajectory.trusted
    trajectory, _ = play(fake(reset=lambda env: time.sleep(0.5), blocking=True), step_seconds=0.05)
    assert (trajectory.stop, trajectory.turns) == (StopReason.ENV_TIMEOUT, [])


def test_an_unreadable_reply_is_a_turn_that_the_environment_never_sees():
    env = fake(end(1.0, success=True))
    trajectory, _ = play(env, Says("go", GO))
    first, second = trajectory.turns
    assert env.steps == ["go"]
    assert (first.action, first.valid, first.rewards) == (None, False, {})
    assert "<action>" in first.error
    assert second.observation == first.error  # it is what the agent sees next
    assert (second.action, second.error, second.valid) == ("go", None, True)
    assert trajectory.success
    assert trajectory.reward == 1.0
    assert play(fake(), Says("nothing"), turns=4)[0].stop is StopReason.MAX_TURNS


def test_a_turn_records_what_happened():
    record = ToolRecord("look", {"at": 1})
    info = {"rewards": {"goal": 1, "step": np.float32(-0.5)}, "valid": False, "tool_calls": [record]}
    env = fake(lambda *_: ("end", 0.5, True, False, info), reset=lambda env: ("start", {"task": 7, "o": []}))
    trajectory, _ = play(env)
    (turn,) = trajectory.turns
    assert turn.rewards == {"goal": 1.0, "step": -0.5}
    assert (turn.valid, turn.tool_calls, turn.text, turn.versions) == (False, [record], GO, [(0, 4)])
    assert turn.completion_ids.tolist() == TOKENIZER(GO)["input_ids"]
    assert set(turn.seconds) == {"policy", "env", "agent"}
    assert turn.policy == "says"
    assert trajectory.info["task"] == 7
    assert "o" not in trajectory.info
    assert not trajectory.success  # the environment did not say so, and 0.5 is below 1


def test_a_turn_records_scores_and_what_the_environment_alone_knows():
    env = fake(end(scores={"match": 1}), potential=lambda self: 0.5, privileged_key=lambda self: len(self.steps))
    trajectory, _ = play(env)
    [turn] = trajectory.turns
    assert turn.info["scores"] == {"potential": 0.5, "match": 1.0}
    assert isinstance(turn.info["privileged_key"], str)


def test_success_is_what_the_environment_says_else_a_full_reward():
    assert play(fake(end(1.0)))[0].success
    assert not play(fake(end(1.0, success=False)))[0].success
    assert play(fake(end(0.0, success=True)))[0].success
    assert not play(fake(lambda *_: ("ok", 1.0, False, False, {})), turns=1)[0].success


def test_the_three_budgets_and_the_seeds_reach_the_policy():
    env, policy = fake(), Says("word " * 30)
    trajectory, _ = play(env, policy, turn_tokens=8, episode_tokens=20)
    assert [request.max_tokens for request in policy.asked] == [8, 8, 4]
    assert trajectory.sampled_tokens == 20
    assert trajectory.stop is StopReason.MAX_TOKENS
    assert (env.seed, env.options) == (5, {"task": 7})
    assert [request.key for request in policy.asked] == [(1, 2, 0), (1, 2, 1), (1, 2, 2)]
    assert len({request.seed for request in policy.asked}) == 3
    assert policy.asked[0].stop == ("</action>",)
    again = Says("word " * 30)
    play(fake(), again, turn_tokens=8, episode_tokens=20)
    assert [request.seed for request in again.asked] == [request.seed for request in policy.asked]


def test_a_reply_that_was_cut_says_so():
    trajectory, _ = play(fake(), Says(GO, finish="length"), turns=1)
    assert trajectory.turns[0].info == {"cut": True}


def test_context_full_is_one_segment_whatever_is_cut_or_unreadable():
    trajectory, _ = play(fake(), Says("no", GO, "word " * 30, GO), turns=8, turn_tokens=12)
    (segment,) = trajectory.segments()
    assert segment.sampled.sum() == trajectory.sampled_tokens
    assert len(play(fake(), turns=4, config={"context": 1})[0].segments()) > 1


def test_a_scripted_policy_acts_without_tokens():
    trajectory, _ = play(fake(max_turns=2), Idle())
    assert [turn.action for turn in trajectory.turns] == ["wait", "wait"]
    assert trajectory.segments() == []


def test_what_the_user_can_mend_ends_the_run():
    with pytest.raises(UserError, match="lists no admissible"):
        play(fake(), config={"admissible": True})
    with pytest.raises(UserError, match="no such task"):
        play(fake(reset=fail(UserError("no such task"))))


def test_admissible_actions_are_listed_for_the_policy_only():
    env = fake(admissible_actions=lambda self: ["go", "stay"])
    policy = Says(GO)
    trajectory, _ = play(env, policy, {"admissible": True}, turns=1)
    assert "start\nYou can: go, stay" in TOKENIZER.decode(policy.asked[0].prompt_ids)
    assert trajectory.turns[0].observation == "start"
    trajectory, _ = play(fake(admissible_actions=fail(ValueError("x"))), policy, {"admissible": True}, turns=1)
    assert trajectory.stop is StopReason.ENV_ERROR
