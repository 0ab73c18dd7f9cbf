"""``agentrl/ShopWeb-v0``: the store as a web site in real Chromium, with the requests and the reward of Shop-v0."""

from __future__ import annotations

import random
import re
from typing import Any

from agentrl.envs.core import StepResult
from agentrl.envs.shop import site, store
from agentrl.envs.shop.catalogue import catalogue
from agentrl.envs.shop.expert import TURNS, Seen, look, next_action
from agentrl.envs.shop.score import score
from agentrl.envs.shop.store import State
from agentrl.envs.shop.tasks import goal_of
from agentrl.envs.tool_env import ToolEnv
from agentrl.tools.browser import Window
from agentrl.types import Action, ToolCall

_ELEMENT = re.compile(r'\[\d+\] (?:link|button) "([^"]*)"(?: \([^)]*\))?')


class ShopWeb(ToolEnv):
    """Buy what is asked for, within the price, in the shop. Choose the options before "buy now", which ends it."""

    snapshot_level = "replay"
    points = True
    window = Window(address=False)

    def __init__(self) -> None:
        self.max_turns = TURNS
        self.task = ""
        self.looked = Seen()

    async def start(self, task: str, rng: random.Random) -> str:
        goal = goal_of(task)
        self.task, self.looked = task, Seen()
        self.level = goal.level
        origin = site.shared().origin
        return f"{goal.text}\n{await self.window.open(origin + site.address(State()), [origin])}"

    async def astep(self, action: Action) -> StepResult:
        observation, _, _, _, info = await super().astep(action)
        state, goal = self.state, goal_of(self.task)
        self.looked |= look(state)
        if not state.bought:
            return observation, 0.0, False, False, {**info, "success": False}
        assert state.product is not None
        self._open = False
        reward = score(catalogue()[state.product], dict(state.chosen), goal)
        return observation, reward, True, False, {**info, "success": reward == 1.0}

    async def _answer(self, text: str) -> StepResult:
        return self._refuse("Plain text does nothing here: call a tool.")

    @property
    def state(self) -> State:
        """Where the visitor is, by the address."""
        assert self.window.seen is not None
        return site.state_of(self.window.seen.url) or State()

    def facts(self) -> str:
        """The page as it reads in Chromium, in the words of the text rendering."""
        assert self.window.seen is not None
        lines = [_ELEMENT.sub(r"[\1]", line) for line in self.window.seen.lines()]
        return "\n".join("[search]" if "textbox" in line else line for line in lines)

    def call_of(self, action: str) -> ToolCall:
        """The tool call that does in the browser what an action of the text rendering does."""
        parsed = store.parse(action)
        assert parsed is not None
        assert self.window.seen is not None
        verb, words = parsed
        if verb == store.SEARCH:
            field = next(e for e in self.window.seen.elements if e.role == "textbox")
            return ToolCall("type", ref=field.ref, text=words, submit=True)
        return ToolCall("click", ref=next(e.ref for e in self.window.seen.elements if e.name == words))

    def expert(self) -> ToolCall:
        """What the expert of the text rendering does."""
        return self.call_of(next_action(self.state, self.looked, goal_of(self.task)))

    def state_key(self) -> Any:
        """The page as it reads."""
        return self.facts()
