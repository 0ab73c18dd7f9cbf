"""A person at the terminal, as a policy."""

from __future__ import annotations

import asyncio

from agentrl.policies.base import ScriptedTurn
from agentrl.types import Action


class Human:
    """Shows what there is to see and takes a line for an action."""

    name = "human"

    async def act(self, turn: ScriptedTurn) -> Action:
        print(turn.observation)
        return (await asyncio.to_thread(input, "> ")).strip()
