"""Policies without a model: what the environment's expert does, chance, nothing, or what was done before."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentrl.envs.random_actions import random_action, slip
from agentrl.errors import UserError
from agentrl.policies.base import ScriptedPolicy, ScriptedTurn
from agentrl.types import Action, Trajectory


class Expert:
    """The environment's expert, who errs with a probability drawn for each episode from ``noise``.

    Half of the errors are random admissible actions, half are slips: commands that mean nothing where they are given,
    so that who imitates the expert also sees how it goes on after them.
    """

    name = "expert"

    def __init__(self, noise: float | tuple[float, float] = 0.0) -> None:
        self.noise = noise if isinstance(noise, tuple) else (noise, noise)

    async def act(self, turn: ScriptedTurn) -> Action:
        if not hasattr(turn.env, "expert"):
            raise UserError(f"{turn.task_key.split('#')[0]} has no expert")
        low, high = self.noise
        # The level is the episode's own: the same for every turn, whatever was drawn before.
        level = low if low == high else random.Random(f"noise {turn.seed}").uniform(low, high)
        if level and turn.rng.random() < level:
            turn.info["noise"] = True
            return (slip(turn.env, turn.rng) if turn.rng.random() < 0.5 else None) or random_action(turn.env, turn.rng)
        action: Action = turn.env.expert()
        return action


class Random:
    """A random admissible action, or a random tool with random arguments."""

    name = "random"

    async def act(self, turn: ScriptedTurn) -> Action:
        return random_action(turn.env, turn.rng)


class Idle:
    """Says nothing of use: what an environment gives for it, it gives for free."""

    name = "idle"

    async def act(self, turn: ScriptedTurn) -> Action:
        return "wait"


class Replay:
    """The actions of stored trajectories, by task."""

    name = "replay"

    def __init__(self, trajectories: Sequence[Trajectory]) -> None:
        self._actions = {t.task.key: [turn.action for turn in t.turns] for t in trajectories}

    async def act(self, turn: ScriptedTurn) -> Action:
        actions = self._actions.get(turn.task_key)
        if actions is None:
            raise UserError(f"nothing stored for task {turn.task_key}")
        action = actions[turn.turn] if turn.turn < len(actions) else None
        return "" if action is None else action


SCRIPTED: dict[str, type[ScriptedPolicy]] = {"expert": Expert, "random": Random, "idle": Idle}
