"""The environment: protocol, rewards, snapshots, keys, capabilities."""

import asyncio
import random
import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.envs import core, registry
from agentrl.envs.household.engine import Engine
from agentrl.envs.household.env import Household
from agentrl.envs.household.tasks import SIZES, layout_of, splits
from agentrl.errors import UserError
from agentrl.types import ToolCall


def solve(env):
    total, done, info = 0.0, False, {}
    while not done:
        _, reward, done, _, info = env.step(env.expert())
        total += reward
    return total, info


def test_first_observation_and_info():
    observation, info = Household().reset(options={"task": "small-unseen-00003"})
    assert observation.startswith("You are in the middle of a room. Looking quickly around you, you see a ")
    assert "\n\nYour task is to: " in observation
    assert info["task"] == "small-unseen-00003"
    assert info["task_type"].startswith(("pick", "look"))


def test_protocols():
    env = Household()
    assert isinstance(env, core.Snapshots | core.Expert | core.Admissible)
    assert env.snapshot_level == "exact"
    assert not env.blocking


@pytest.mark.parametrize("size", SIZES)
def test_max_turns_is_the_sizes(size):
    env = Household(size=size)
    env.reset(seed=1)
    assert env.max_turns == SIZES[size].limit


def test_the_task_does_not_depend_on_arguments_or_seed():
    one, other = Household(size="tiny", reward="dense"), Household(size="full", split="seen")
    task = {"task": "medium-train-00123"}
    assert one.reset(seed=1, options=task) == other.reset(seed=2, options=task)
    assert one.max_turns == other.max_turns == 50


@pytest.mark.parametrize("split", ["train", "seen", "unseen"])
def test_a_seed_picks_from_the_split_in_the_name(split):
    env = registry.make(f"agentrl/Household-v0:{split}", size="tiny+small", split="train")
    tasks = [env.reset(seed=seed)[1]["task"] for seed in range(20)] + [env.reset()[1]["task"]]
    assert all(re.fullmatch(rf"(tiny|small)-{split}-\d+", task) for task in tasks), tasks
    assert registry.make("agentrl/Household-v0", split=split).reset(seed=0)[1]["task"].startswith(f"small-{split}-")


def test_a_seed_picks_a_task_of_the_split():
    env = Household(size="tiny+small", split="unseen")
    tasks = [env.reset(seed=seed)[1]["task"] for seed in range(30)]
    assert tasks == [Household(size="tiny+small", split="unseen").reset(seed=seed)[1]["task"] for seed in range(30)]
    assert len(set(tasks)) > 25
    assert all(task in splits("tiny+small")["unseen"] for task in tasks)
    env.reset(seed=5)
    follow = [env.reset()[1]["task"] for _ in range(5)]
    env.reset(seed=5)
    assert follow == [env.reset()[1]["task"] for _ in range(5)]


@pytest.mark.parametrize("kwargs", [{"size": "huge"}, {"reward": "some"}, {"split": "test"}, {"game_file": "missing"}])
def test_bad_arguments_are_the_users_error(kwargs):
    with pytest.raises(UserError):
        Household(**kwargs)


@pytest.mark.parametrize("task", ["nope", 3, ["small-train-00001"], "small-train-99999"])
def test_bad_task_is_the_users_error(task):
    with pytest.raises(UserError, match="unknown household task"):
        Household().reset(options={"task": task})


def test_nothing_before_reset():
    with pytest.raises(UserError, match="reset"):
        Household().step("look")


def test_meaningless_actions():
    env = Household(reward="dense")
    env.reset(seed=0)
    before = env.snapshot().state
    for action in ["", "dance", "x" * 10**6, ToolCall("look"), [ToolCall("look")], [], None, 5, {"a": 1}]:
        observation, reward, terminated, truncated, info = env.step(action)
        assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, False, False)
        assert info["valid"] is False
        assert info["success"] is False
    assert env.snapshot().state == before


def test_help_is_valid_but_not_listed():
    env = Household()
    env.reset(seed=0)
    assert env.step("help")[4]["valid"]
    assert "help" not in env.admissible_actions()


def test_after_the_end():
    env = Household()
    env.reset(seed=0)
    total, info = solve(env)
    assert total == 1.0
    assert info["success"]
    assert info["rewards"] == {"goal": 1.0}
    for action in ("look", env.expert()):
        observation, reward, terminated, truncated, info = env.step(action)
        assert (observation, reward, terminated, truncated) == ("Nothing happens.", 0.0, True, False)
        assert not info["valid"]
    assert env.admissible_actions() == []


def test_admissible_switch_lists_them_in_observations():
    env = Household(admissible=True)
    observation, _ = env.reset(seed=0)
    for _ in range(5):
        assert observation.endswith("\n\nYou can: " + ", ".join(env.admissible_actions()))
        observation = env.step(env.admissible_actions()[0])[0]


@pytest.mark.parametrize("size", SIZES)
def test_dense_reward_sums_to_one_for_the_expert(size):
    env = Household(size=size, reward="dense")
    for task in splits(size)["train"][:60]:
        env.reset(options={"task": task})
        total, info = solve(env)
        assert total == pytest.approx(1.0)
        assert info["rewards"]["goal"] < 1


def test_dense_reward_is_bounded_and_cannot_be_farmed():
    rng, env = random.Random(0), Household(size="tiny", reward="dense")
    for task in splits("tiny")["train"][:100]:
        env.reset(options={"task": task})
        total, previous = 0.0, None
        for turn in range(400):
            # half of the time the expert, so that sub-goals are reached, and then undone at random, again and again
            action = env.expert() if turn % 2 and rng.random() < 0.5 else rng.choice(env.admissible_actions())
            if previous == action:
                continue
            _, reward, done, _, info = env.step(action)
            assert reward >= 0
            assert reward == pytest.approx(sum(info["rewards"].values()))
            total += reward
            if done:
                break
            assert total <= 0.76
        assert total <= 1 + 1e-9


def test_taking_and_putting_back_pays_once():
    env = Household(reward="dense", size="tiny")
    for task in splits("tiny")["train"][:40]:
        env.reset(options={"task": task})
        action = env.expert()
        while not action.startswith("take"):
            env.step(action)
            action = env.expert()
        assert env.step(action)[1] > 0
        _, name, number, _, at, its = action.split()
        back = f"move {name} {number} to {at} {its}"
        for again in (back, action, back, action):
            _, reward, _, _, info = env.step(again)
            assert info["valid"]
            assert reward == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 20))
def test_snapshot_equals_continuation(seed, turns):
    rng = random.Random(seed)
    env, elsewhere = Household(reward="dense", size="tiny+medium"), Household(size="full", reward="dense")
    env.reset(seed=seed)
    elsewhere.reset(seed=seed + 1)

    def act(one, noise):
        actions = one.admissible_actions()
        return one.step(actions[int(noise * len(actions))] if noise < 0.7 and actions else one.expert())

    for _ in range(turns):
        act(env, rng.random())
    saved = env.snapshot()
    noises = [rng.random() for _ in range(15)]
    first = [(act(env, noise), env.state_key(), env.admissible_actions()) for noise in noises]
    for other in (env, elsewhere):
        other.restore(saved)
        assert [(act(other, noise), other.state_key(), other.admissible_actions()) for noise in noises] == first
        assert other.max_turns == env.max_turns
    saved.free()


def test_instances_share_no_state():
    one, other = Household(), Household()
    task = {"task": "small-train-00005"}
    one.reset(options=task)
    untouched = other.reset(options=task), other.snapshot().state
    solve(one)
    assert other.snapshot().state == untouched[1]
    assert one.reset(options=task) == untouched[0]


def test_state_key_tells_what_was_seen_and_nothing_else():
    env = Household()
    env.reset(options={"task": "small-train-00005"})
    keys = [core.key_of(env, "")]
    for _ in range(6):
        env.step(env.expert())
        keys.append(core.key_of(env, ""))
    assert len(set(keys)) == len(keys)
    env.step("dance")
    env.step("inventory")
    env.step("look")
    assert core.key_of(env, "") == keys[-1]


def test_state_key_tells_a_place_before_a_sub_goal_from_after_it():
    """Put down what was cleaned: place and hands are as they were before it was taken, but for the progress."""
    env = Household()
    task = next(t for t in splits("small")["train"] if layout_of(t).goal.kind == "pick_clean_then_place_in_recep")
    env.reset(options={"task": task})
    taken, clean = "", False
    while not clean:
        command = env.expert()
        if command.startswith("take"):
            before, taken = env.state_key(), command
        clean = command.startswith("clean")
        env.step(command)
    thing, _, place = taken.removeprefix("take ").partition(" from ")
    env.step(f"go to {place}")
    env.step(f"move {thing} to {place}")
    after = env.state_key()
    assert after[-1] > before[-1]
    assert after[1] is None
    assert before[1] is None


def test_state_key_does_not_tell_what_was_done_before_the_start(monkeypatch):
    env = Household()
    env.reset(options={"task": "small-train-00005"})
    ordinary = env.state_key()
    reached = Engine.progress
    monkeypatch.setattr(Engine, "progress", lambda engine: reached(engine) + 0.5)
    env.reset(options={"task": "small-train-00005"})
    assert env.state_key() == ordinary


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "full"])
def test_nothing_is_reached_at_the_start_of_a_generated_task(size):
    assert {Engine(layout_of(t)).progress() for t in splits(size)["train"][:200]} == {0.0}


def test_coroutines():
    async def episode():
        env = Household()
        await env.areset(seed=3)
        return await env.astep("look")

    assert asyncio.run(episode())[4]["valid"]


def test_render_is_text():
    env = Household()
    env.reset(seed=0)
    assert env.render().endswith("You are not carrying anything.")


def test_importing_loads_nothing_heavy():
    code = (
        "import sys, agentrl.envs.household.env; print(sorted({'torch', 'transformers', 'pandas'} & set(sys.modules)))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert out.stdout.strip() == "[]"
