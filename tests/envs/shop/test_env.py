"""The environment: contract, splits, expert, snapshots, rewards."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.envs import registry
from agentrl.envs.check import check
from agentrl.envs.core import key_of
from agentrl.envs.random_actions import random_action
from agentrl.envs.shop.env import NOTHING, Shop
from agentrl.envs.shop.tasks import HELD_OUT, SPLITS, UNSEEN_PRODUCTS, goal_of, splits
from agentrl.errors import UserError
from agentrl.evaluation import suites
from agentrl.types import ToolCall


def play(env, player, task):
    env.reset(options={"task": task})
    total, done, info = 0.0, False, {}
    for turns in range(1, env.max_turns + 1):
        _, reward, done, _, info = env.step(player())
        total += reward
        if done:
            return total, turns, info
    return total, env.max_turns, info


def test_it_keeps_the_contract():
    report = check("agentrl/Shop-v0")
    assert report.ok, str(report)


def test_the_expert_buys_everything_right_in_time():
    env = Shop()
    for split in SPLITS:
        for task in splits()[split][:100]:
            total, turns, info = play(env, env.expert, task)
            assert (total, info["success"]) == (1.0, True), task
            assert turns <= 11


def test_chance_and_the_request_typed_in_buy_the_wrong_thing():
    env, rng = Shop(reward="success"), random.Random(0)
    tasks = splits()["unseen"][:300]
    assert sum(play(env, lambda: random_action(env, rng), task)[0] for task in tasks) <= 9

    def rule():  # WebShop's rule: type the request in, buy the first result
        actions = env.admissible_actions()
        return "click[buy now]" if "click[buy now]" in actions else actions[0]

    assert sum(play(env, rule, task)[0] for task in tasks) <= 9


def test_a_task_says_what_is_scored():
    for task in splits()["unseen"][:100]:
        goal = goal_of(task)
        assert goal.product.kind in goal.text
        assert all(attribute in goal.text for attribute in goal.attributes)
        assert all(f"{name}: {value}" in goal.text for name, value in goal.options.items())
        assert goal.product.cents < goal.ceiling <= goal.product.cents + 4000


def test_tasks_are_the_same_for_good():
    assert goal_of("unseen-00003").text == (
        "get me wall charger that comes with raised edges and magnetic hold, color: red, fits: edge"
        ", and price lower than 50.00 dollars"
    )
    assert goal_of("train-00001").product.id == "bumetu"


def test_what_unseen_asks_for_is_never_asked_for_in_training():
    def pairs(split):
        goals = [goal_of(task) for task in splits()[split][:300]]
        return {g.product.id for g in goals}, [{(g.product.kind, a) for a in g.attributes} for g in goals]

    held_out = {(kind, attribute) for kind, attributes in HELD_OUT.items() for attribute in attributes}
    products, wanted = pairs("unseen")
    assert all(pair & held_out for pair in wanted)
    for split in ("train", "seen"):
        others, trained = pairs(split)
        assert not products & others
        assert not set().union(*trained) & held_out
    assert UNSEEN_PRODUCTS > 1


@pytest.mark.parametrize("task", ["nope", 3, "train-10000", "test-00000"])
def test_unknown_tasks_are_the_users_error(task):
    with pytest.raises(UserError, match="unknown shop task"):
        Shop().reset(options={"task": task})


def test_bad_arguments_and_order_are_the_users_error():
    with pytest.raises(UserError, match="shop reward"):
        Shop(reward="points")
    with pytest.raises(UserError, match="reset"):
        Shop().step("search[x]")


def test_meaningless_actions_change_nothing():
    env = Shop()
    env.reset(options={"task": "train-00001"})
    before = env.snapshot().state
    for action in ["", "dance", "click[buy now]", "x" * 10**6, ToolCall("search"), [], None, 5]:
        observation, reward, terminated, _, info = env.step(action)
        assert (observation, reward, terminated, info["valid"]) == (f"{NOTHING}\n[search]", 0.0, False, False)
    assert env.snapshot().state == before


def test_nothing_is_paid_before_the_purchase_and_parts_of_it_at_it():
    env = Shop()
    env.reset(options={"task": "train-00001"})
    env.step(env.expert())
    env.step(env.expert())
    _, reward, done, _, info = env.step("click[buy now]")
    assert done
    assert 0 < reward == info["score"] < 1
    assert not info["success"]
    sparse = Shop(reward="success")
    sparse.reset(options={"task": "train-00001"})
    for _ in range(2):
        sparse.step(sparse.expert())
    assert sparse.step("click[buy now]")[1] == 0.0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 8))
def test_snapshot_equals_continuation(seed, turns):
    env, elsewhere = (registry.make("agentrl/Shop-v0") for _ in range(2))
    rng = random.Random(seed)
    env.reset(seed=seed)
    elsewhere.reset(seed=seed + 1)

    def act(one, noise):
        actions = one.admissible_actions()
        return one.step(actions[int(noise * len(actions))] if noise < 0.5 and actions else one.expert())

    for _ in range(turns):
        if act(env, rng.random())[2]:
            env.reset(seed=seed)
    saved, noises, first = env.snapshot(), [rng.random() for _ in range(10)], None
    for one in (env, env, elsewhere):
        one.restore(saved)
        played = []
        for noise in noises:
            played.append((act(one, noise), one.state_key(), one.admissible_actions()))
            if played[-1][0][2]:
                break
        first = first or played
        assert played == first


def test_equal_pages_are_one_state_whatever_was_typed():
    keys = []
    for query in ("running shoes black", "Black running shoe", "jeans"):
        env = Shop()
        env.reset(options={"task": "train-00001"})
        env.step(f"search[{query}]")
        keys.append(key_of(env, ""))
    assert keys[0] == keys[1] != keys[2]


def test_the_suite_and_the_splits():
    tasks = suites.load("shop-unseen").tasks()
    assert len(tasks) == 256
    told = Counter(Shop().reset(options={"task": task.id})[1]["level"] for task in tasks)
    assert told == {"2 conditions": 18, "3 conditions": 71, "4 conditions": 122, "5 conditions": 45}
    env = registry.make("agentrl/Shop-v0:unseen")
    assert all(env.reset(seed=seed)[1]["task"].startswith("unseen-") for seed in range(10))
    assert "train-00003" in splits()["train"]
    assert "unseen-00003" not in splits()["train"]
