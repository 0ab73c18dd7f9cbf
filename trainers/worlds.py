"""What the environments of stored episodes tell an agent, and the agents that talk to them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.envs import registry
from agentrl.types import Trajectory

World = tuple[str, list[dict[str, Any]]]  # instructions and tools


def worlds_of(trajectories: Iterable[Trajectory]) -> dict[str, World]:
    """By environment id; each is built once, with the arguments of its last trajectory."""
    return {env: _world(env, dict(kwargs)) for env, kwargs in {t.task.env: t.task.kwargs for t in trajectories}.items()}


def agents_of(worlds: dict[str, World], tokenizer: Any, config: AgentConfig) -> dict[str, ChatAgent]:
    return {env: ChatAgent(tokenizer, config, *told) for env, told in worlds.items()}


def _world(env: str, kwargs: dict[str, Any]) -> World:
    made = registry.make(env, **kwargs)
    try:
        return made.instructions, made.tools
    finally:
        made.close()
