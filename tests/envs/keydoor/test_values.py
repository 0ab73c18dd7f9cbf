"""Exact values against the sum over every branch, against shortest ways and against played episodes."""

import math
import random

import pytest

from agentrl.envs.keydoor.env import KeyDoor
from agentrl.envs.keydoor.values import exact_values, mixed_policy
from agentrl.envs.keydoor.world import splits, world_of
from agentrl.errors import UserError

TASK = "row4-start1-key2-door2-goal3"  # take four actions at best


def by_recursion(task, policy, gamma, horizon):
    """The value of the start by playing every branch of the environment, without a table."""
    env = KeyDoor()
    env.reset(options={"task": task})

    def value(left):
        if not left:
            return 0.0
        saved, total = env.snapshot(), 0.0
        for action, chance in policy[env.state_key()].items():
            env.restore(saved)
            _, reward, done, _, _ = env.step(action)
            total += chance * (reward + (0.0 if done else gamma * value(left - 1)))
        return total

    return value(horizon)


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
@pytest.mark.parametrize("horizon", [0, 1, 5, 7])
def test_values_are_those_of_every_branch_played_out(gamma, horizon):
    policy = mixed_policy(TASK, 0.7)
    exact = exact_values(TASK, policy, gamma, horizon).v[world_of(TASK).first, horizon]
    assert exact == pytest.approx(by_recursion(TASK, policy, gamma, horizon), abs=1e-12)
    if horizon == 7 and gamma:
        assert 0 < exact < 1


@pytest.mark.parametrize("task", splits()["unseen"][::6])
def test_the_best_policy_is_worth_the_discounted_shortest_way(task):
    env = KeyDoor()
    env.reset(options={"task": task})
    turns, done = 0, False
    while not done:
        done, turns = env.step(env.expert())[2], turns + 1
    start = world_of(task).first
    values = exact_values(task, mixed_policy(task, 0.0), 0.9)
    assert values.v[start, 20] == pytest.approx(0.9 ** (turns - 1))
    assert values.v[start, turns] == pytest.approx(0.9 ** (turns - 1))
    assert values.v[start, turns - 1] == 0.0  # one turn short


def test_played_episodes_agree():
    task, gamma, n = "row5-start2-key1-door3-goal5", 0.95, 3000
    policy = mixed_policy(task, 0.5)
    env, rng = KeyDoor(), random.Random(0)
    returns = []
    for _ in range(n):
        env.reset(options={"task": task})
        earned = 0.0
        for turn in range(20):
            chances = policy[env.state_key()]
            _, reward, done, _, _ = env.step(rng.choices(list(chances), list(chances.values()))[0])
            earned += gamma**turn * reward
            if done:
                break
        returns.append(earned)
    mean = sum(returns) / n
    error = math.sqrt(sum((r - mean) ** 2 for r in returns) / (n - 1) / n)
    start = world_of(task).first
    assert abs(mean - exact_values(task, policy, gamma).v[start, 20]) < 5 * error
    assert abs(mean - exact_values(task, policy, 1.0).v[start, 20]) > 5 * error  # the undiscounted value is another


def test_values_and_advantages_fit_together():
    policy = mixed_policy(TASK, 0.4)
    values = exact_values(TASK, policy, 0.9)
    for (state, left), v in values.v.items():
        if left:
            mean = sum(p * values.advantage(state, left, action) for action, p in policy[state].items())
            assert mean == pytest.approx(0, abs=1e-12)
            assert 0 <= v <= 1
            assert v >= values.v[state, left - 1] - 1e-12  # more time never hurts


def test_an_action_without_meaning_costs_a_turn():
    policy = mixed_policy(TASK, 0.4)
    start = world_of(TASK).first
    policy[start] = {**policy[start], "sing": 0.0}
    values = exact_values(TASK, policy, 0.9)
    assert values.q[start, 20, "sing"] == values.q[start, 20, "look"] == 0.9 * values.v[start, 19]


def test_bad_policies_are_the_users_error():
    policy = mixed_policy(TASK, 0.4)
    start = world_of(TASK).first
    with pytest.raises(UserError, match=r"policy of task 'row4-.*' at \(1, False, False\) is missing.*go left"):
        exact_values(TASK, {s: p for s, p in policy.items() if s != start})
    for wrong in ({"look": 0.5}, {"look": 1.5, "go right": -0.5}):
        with pytest.raises(UserError, match="add up to 1"):
            exact_values(TASK, {**policy, start: wrong})
