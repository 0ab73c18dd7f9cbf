"""``KeyDoor-v0``: a world of at most 15 states, for checks against exact values.

    env = KeyDoor()
    observation, info = env.reset(options={"task": "row5-start2-key1-door3-goal5"})
    observation, reward, terminated, truncated, info = env.step("go left")

The reward is 1 in the goal room. :func:`agentrl.envs.keydoor.values.exact_values` gives the value of every state and
action under any policy.
"""

from __future__ import annotations

from typing import Any, ClassVar

from agentrl.envs.core import Env, ResetResult, Snapshot, StepResult
from agentrl.envs.keydoor.world import ACTIONS, State, World, admissible, advance, best_action, world_of
from agentrl.errors import UserError
from agentrl.types import Action


class KeyDoor(Env):
    """Fetch the key, open the door, reach the goal."""

    instructions = f"Fetch the key, open the door and reach the goal. Reply with one command: {', '.join(ACTIONS)}."
    blocking: ClassVar[bool] = False
    snapshot_level = "exact"

    def __init__(self) -> None:
        self._now: tuple[World, State] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        task = self.pick_task(seed, options)
        world = world_of(task)
        self._now = world, world.first
        told = (
            f"{world.rooms} rooms stand in a row, room 1 at the left. A key lies in room {world.key}. A locked door "
            f"stands between rooms {world.door} and {world.door + 1}. The goal is room {world.goal}."
        )
        return f"{told}\n{self.render()}", {"task": task}

    def step(self, action: Action) -> StepResult:
        world, state = self._running()
        text = action.strip().lower() if isinstance(action, str) and state.room != world.goal else ""
        after = advance(world, state, text)
        valid = after is not None
        self._now = world, after or state
        success = self._now[1].room == world.goal
        reward = float(valid and success)
        observation = self.render() if valid else "Nothing happens."
        return observation, reward, success, False, {"valid": valid, "success": success}

    def admissible_actions(self) -> list[Action]:
        """Every action that means something now, sorted; none after the end."""
        return [*admissible(*self._running())]

    def expert(self) -> Action:
        """The next action of a shortest way."""
        return best_action(*self._running())

    def state_key(self) -> State:
        """Room, key in hand, door open: the states that ``exact_values`` tells apart."""
        return self._running()[1]

    def privileged_key(self) -> State:
        """The same: nothing of the state is hidden from the agent."""
        return self.state_key()

    def potential(self) -> float:
        """Minus the actions of a shortest way to the goal."""
        world, state = self._running()
        steps = 0
        while state.room != world.goal:
            state = advance(world, state, best_action(world, state)) or state
            steps += 1
        return -float(steps)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._running())

    def restore(self, snapshot: Snapshot) -> None:
        self._now = snapshot.state

    def render(self) -> str:
        """What the agent sees and holds."""
        world, (room, has_key, is_open) = self._running()
        told = [f"You are in room {room} of {world.rooms}."]
        if room == world.goal:
            told.append("You reached the goal.")
        if room == world.key and not has_key:
            told.append("There is a key.")
        if room in (world.door, world.door + 1):
            side = "right" if room == world.door else "left"
            told.append(f"The door to the {side} is {'open' if is_open else 'locked'}.")
        if has_key:
            told.append("You have the key.")
        return " ".join(told)

    def _running(self) -> tuple[World, State]:
        if self._now is None:
            raise UserError("KeyDoor: call reset() before anything else")
        return self._now
