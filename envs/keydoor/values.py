"""What every state and action of a KeyDoor task is worth under a policy, exactly.

With k turns left, ``V_k(s) = sum_a pi(a|s) Q_k(s, a)``, ``Q_k(s, a) = r(s, a) + gamma V_{k-1}(s')``, and ``V_0 = 0``;
the goal ends the episode. An action that means nothing costs a turn and changes nothing. The time limit is part of
the state: an episode that runs out of turns earns nothing more.

Source: finite-horizon policy evaluation, Puterman (1994), chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from agentrl.envs.keydoor.world import ACTIONS, LIMIT, State, World, admissible, advance, best_action, world_of
from agentrl.errors import UserError

Policy = Mapping[State, Mapping[str, float]]


class Values(NamedTuple):
    """``v[state, turns left]``; ``q[state, turns left, action]`` for the actions that the policy lists."""

    v: dict[tuple[State, int], float]
    q: dict[tuple[State, int, str], float]

    def advantage(self, state: State, left: int, action: str) -> float:
        return self.q[state, left, action] - self.v[state, left]


def exact_values(task: str, policy: Policy, gamma: float = 1.0, horizon: int = LIMIT) -> Values:
    """The values for 0 to ``horizon`` turns left, of all states but the goal that the listed actions can reach.

    ``policy[state][action]`` is a probability; an action listed with probability 0 has a value, too. Raises UserError
    where the policy says nothing about a state, or where its probabilities do not add up to 1.
    """
    world = world_of(task)
    states = _reachable(world, policy)
    v = {(state, 0): 0.0 for state in states}
    q: dict[tuple[State, int, str], float] = {}
    for left in range(1, horizon + 1):
        for state in states:
            for action in policy[state]:
                after = advance(world, state, action) or state
                q[state, left, action] = 1.0 if after.room == world.goal else gamma * v[after, left - 1]
            v[state, left] = math.fsum(p * q[state, left, action] for action, p in policy[state].items())
    return Values(v, q)


def mixed_policy(task: str, epsilon: float) -> dict[State, dict[str, float]]:
    """The best action, and with probability ``epsilon`` an admissible one at random. Every state can be reached."""
    world = world_of(task)
    policy: dict[State, dict[str, float]] = {}
    todo = [world.first]
    while todo:
        state = todo.pop()
        if state in policy or state.room == world.goal:
            continue
        actions = admissible(world, state)
        policy[state] = {action: epsilon / len(actions) for action in actions}
        policy[state][best_action(world, state)] += 1 - epsilon
        todo += [after for action in actions if (after := advance(world, state, action)) is not None]
    return policy


def _reachable(world: World, policy: Policy) -> list[State]:
    found: list[State] = []
    todo = [world.first]
    while todo:
        state = todo.pop()
        if state in found or state.room == world.goal:
            continue
        _check(world, state, policy)
        found.append(state)
        todo += [advance(world, state, action) or state for action in policy[state]]
    return found


def _check(world: World, state: State, policy: Policy) -> None:
    chances = policy.get(state)
    where = f"the policy of task {world.id!r} at {tuple(state)}"
    if not chances:
        raise UserError(f"{where} is missing; it needs probabilities of actions such as {', '.join(ACTIONS)}")
    if min(chances.values()) < 0 or not math.isclose(math.fsum(chances.values()), 1.0, abs_tol=1e-9):
        raise UserError(f"{where} must hold probabilities that add up to 1, not {dict(chances)}")
