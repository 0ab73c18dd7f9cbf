"""The environment: contract, prompt, states."""

import pytest

from agentrl.envs import check, core, registry
from agentrl.envs.keydoor.env import KeyDoor
from agentrl.envs.keydoor.values import mixed_policy
from agentrl.envs.keydoor.world import ACTIONS, LIMIT, splits, world_of
from agentrl.errors import UserError

TASK = "row5-start2-key1-door3-goal5"


def test_it_keeps_the_contract():
    report = check.check("agentrl/KeyDoor-v0")
    assert report.ok, report
    assert {c.status for c in report.checks} == {"pass"}


def test_registered_limit_and_splits():
    spec = registry.spec("agentrl/KeyDoor-v0")
    assert spec.max_turns == LIMIT
    found = registry.splits(spec)
    assert not set(found["train"]) & set(found["unseen"])
    assert len(found["train"]) > 100
    seen = {registry.make("agentrl/KeyDoor-v0:unseen").reset(seed=seed)[1]["task"] for seed in range(20)}
    assert seen <= set(found["unseen"])


def test_instructions_name_every_action():
    assert all(action in KeyDoor.instructions for action in ACTIONS)


def test_an_episode():
    env = KeyDoor()
    observation, info = env.reset(options={"task": TASK})
    assert "A key lies in room 1." in observation
    assert observation.endswith("You are in room 2 of 5.")
    assert info == {"task": TASK}
    assert env.step("open door") == ("Nothing happens.", 0.0, False, False, {"valid": False, "success": False})
    for action in ("go left", "take key", "go right", "Go Right "):
        assert env.step(action)[4]["valid"]
    assert env.step("go right")[4]["valid"] is False  # locked
    assert env.state_key() == (3, True, False)
    assert env.step("open door")[0] == "You are in room 3 of 5. The door to the right is open. You have the key."
    env.step("go right")
    observation, reward, terminated, truncated, info = env.step("go right")
    assert (reward, terminated, truncated, info["success"]) == (1.0, True, False, True)
    assert env.admissible_actions() == []
    assert env.step("go left")[1:3] == (0.0, True)  # the reward is paid once
    assert env.state_key() == (5, True, True)


@pytest.mark.parametrize("split", ["train", "unseen"])
def test_the_expert_reaches_every_goal_in_time_and_all_it_does_is_admissible(split):
    env = KeyDoor()
    for task in splits()[split]:
        env.reset(options={"task": task})
        done, turns = False, 0
        while not done:
            assert env.expert() in env.admissible_actions()
            done = env.step(env.expert())[2]
            turns += 1
        assert turns <= LIMIT // 2 + 1


def test_admissible_actions_are_those_that_mean_something():
    env = KeyDoor()
    env.reset(options={"task": TASK})
    for _ in range(7):
        saved = env.snapshot()
        meant = []
        for action in ACTIONS:
            env.restore(saved)
            if env.step(action)[4]["valid"]:
                meant.append(action)
        env.restore(saved)
        assert env.admissible_actions() == meant
        env.step(env.expert())


@pytest.mark.parametrize(
    "task", ["", 3, None, "row5", "row5-start2-key2-door3-goal5", "row5-start2-key1-door3-goal3", f"{TASK} "]
)
def test_unknown_tasks_are_the_users_error(task):
    with pytest.raises(UserError, match=r"unknown KeyDoor task .* an id is such as 'row4-"):
        KeyDoor().reset(options={"task": task})


def test_nothing_works_before_reset():
    with pytest.raises(UserError, match=r"call reset\(\)"):
        KeyDoor().step("look")


def test_worlds_are_as_small_as_stated():
    sizes = [len(mixed_policy(task, 1.0)) for split in splits().values() for task in split]
    assert max(sizes) == 15


def test_protocols_and_ids():
    assert isinstance(KeyDoor(), core.Snapshots)
    assert world_of(TASK).id == TASK
