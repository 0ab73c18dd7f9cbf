"""A household whose doors are tools: what methods about calls, scores and confidence need, and three tasks in all."""

from __future__ import annotations

from typing import Any

from agentrl.envs.household.env import Household
from agentrl.envs.registry import register
from agentrl.trainers.credit.toolrl import match
from agentrl.types import ToolCall, ToolRecord

TASKS = [f"tiny-train-{i:05d}" for i in range(3)]


@register("Chores-v0", splits={"train": TASKS, "unseen": ["tiny-unseen-00000"]}, max_turns=25)
class Chores(Household):
    """Opening and taking are calls, which cost; an expert's command is the wanted call."""

    def step(self, action: Any) -> Any:
        wanted, made = call(str(self.expert())), call(str(action))
        observation, reward, terminated, truncated, info = super().step(action)
        records = [ToolRecord(made.name, made.arguments, cost=0.01)] if made.name in ("open", "take") else []
        scores = {"match": match([made], [wanted]), "confidence": 0.9 if info["valid"] else 0.2}
        return observation, reward, terminated, truncated, info | {"tool_calls": records, "scores": scores}


def call(command: str) -> ToolCall:
    name, _, rest = command.partition(" ")
    return ToolCall(name, what=rest)
