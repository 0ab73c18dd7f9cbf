"""Labels of the expert beside what a policy does: stored, drawn by seed, and never a sample of the policy's."""

import asyncio

import pytest

from agentrl import store
from agentrl.envs.core import Env
from agentrl.errors import UserError
from agentrl.policies.scripted import Idle, Random
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.rollout.teacher import Teacher, label_of
from agentrl.types import Group, StopReason, Task, ToolCall, Turn

TASK = Task("agentrl/Household-v0", "tiny-train-00000", (("size", "tiny"),))


def play(policy, beta=0.0, turns=6, make=None, seed=1):
    rollout = Rollout(policy, limits=Limits(turns=turns), teacher=Teacher(beta))
    if make is not None:
        rollout.envs.build = lambda task: make()
    try:
        return asyncio.run(rollout.run([Job("a", TASK, seed, group="g")]))[0]
    finally:
        rollout.close()


def test_every_state_that_the_policy_visits_is_labelled(tmp_path):
    t = play(Idle())
    assert [turn.action for turn in t.turns] == ["wait"] * 6
    labels = [label_of(turn) for turn in t.turns]
    assert all(isinstance(label, str) and label for label in labels)
    assert len(set(labels)) == 1  # who stands still is told the same again
    (back,) = store.read(store.write(tmp_path, "x", [Group(TASK, "g", [t])]))[0]
    assert [label_of(turn) for turn in back.turns] == labels


def test_labels_change_nothing_of_what_is_played():
    rollout = Rollout(Random(), limits=Limits(turns=6))
    (plain,) = asyncio.run(rollout.run([Job("a", TASK, 1, group="g")]))
    assert [turn.action for turn in play(Random()).turns] == [turn.action for turn in plain.turns]


def test_tool_calls_come_back_as_tool_calls():
    for action in (ToolCall("go", to=3), [ToolCall("a"), ToolCall("b", x=[1])]):

        class Asks(Env):
            blocking = False

            def expert(self, action=action):
                return action

        turn = Turn("o")
        assert asyncio.run(Teacher().label(Asks(), turn)) == action
        assert label_of(turn) == action
    assert label_of(Turn("o")) is None


def test_who_has_no_expert_is_told_so():
    with pytest.raises(UserError, match="no expert"):
        asyncio.run(Teacher().label(Env(), Turn("o")))


def test_an_expert_that_breaks_fails_the_episode():
    from agentrl.envs.household.env import Household

    class Broken(Household):
        def expert(self):
            raise KeyError("lost")

    t = play(Idle(), make=Broken)
    assert t.stop is StopReason.ENV_ERROR
    assert t.info["failed_in"] == "expert"


def test_the_expert_takes_its_share_of_the_turns_by_seed():
    acts = [Teacher(0.3).acts(seed, index) for seed in range(100) for index in range(20)]
    assert 0.25 < sum(acts) / len(acts) < 0.35
    assert acts == [Teacher(0.3).acts(seed, index) for seed in range(100) for index in range(20)]
    assert not any(Teacher(0.0).acts(0, index) for index in range(100))
    assert all(Teacher(1.0).acts(0, index) for index in range(100))
