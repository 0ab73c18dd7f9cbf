"""The game of both sides: key and door by one tool, ended by a plain answer; worth 1 if the goal is reached by then.

agentrl plays :class:`Rooms`, TRL plays :class:`Tools`: the same world, the same words, the same reward.
"""

from __future__ import annotations

import random
from typing import Any

import agentrl as ar
from agentrl.envs.keydoor.env import KeyDoor
from agentrl.envs.keydoor.world import LIMIT, splits

TURNS = LIMIT
TASKS = {name: list(tasks) for name, tasks in splits().items()}


@ar.register("Rooms-v0", splits=TASKS, max_turns=TURNS)
class Rooms(ar.ToolEnv):
    """Fetch the key, open the door and reach the goal with the tool act. Say done when you are there."""

    def start(self, task: str, rng: random.Random) -> str:
        self.home, self.solved = KeyDoor(), False
        observation, _ = self.home.reset(options={"task": task})
        return str(observation)

    @ar.tool
    def act(self, command: str) -> str:
        """Do one command."""
        observation, _, self.solved, _, _ = self.home.step(command)
        return str(observation)

    def score(self, answer: str) -> float:
        return float(self.solved)

    def expert(self) -> ar.Action:
        return "done" if self.solved else ar.ToolCall("act", command=self.home.expert())


class Tools:
    """What TRL's ``environment_factory`` is given: ``reset`` and the methods that are tools."""

    def __init__(self) -> None:
        self.home, self.solved = KeyDoor(), False

    def reset(self, task: str, **columns: Any) -> str:
        self.task, self.solved = task, False
        observation, _ = self.home.reset(options={"task": task})
        return str(observation)

    def act(self, command: str) -> str:
        """Do one command.

        Args:
            command: what to do.
        """
        observation, _, self.solved, _, _ = self.home.step(command)
        return str(observation)


def score(environments: list[Tools], completions: list[list[dict[str, Any]]], **columns: Any) -> list[float]:
    """TRL's reward: as :meth:`Rooms.score`, of episodes that ended in a plain answer."""
    ended = [bool(c) and c[-1]["role"] == "assistant" and not c[-1].get("tool_calls") for c in completions]
    return [float(env.solved and end) for env, end in zip(environments, ended, strict=True)]
