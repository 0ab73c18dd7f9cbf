"""``agentrl/Site-v0``: work to be done in a web application, judged by what its database holds afterwards."""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from agentrl.envs.site.app import App
from agentrl.envs.site.tasks import goal_of, wanted
from agentrl.envs.tool_env import ToolEnv
from agentrl.tools import tool
from agentrl.tools.browser import Browser
from agentrl.types import ToolCall


class Site(ToolEnv):
    """Do what is asked in the web application, or find what is asked for. Then call done, with the answer if one is."""

    snapshot_level = "replay"
    points = True
    browser = Browser(address=False)

    def __init__(self) -> None:
        self._app: App | None = None
        self.task = ""

    async def start(self, task: str, rng: random.Random) -> str:
        goal = goal_of(task)
        self.task = task
        if self._app is None:
            self._app = App()
        self._app.begin()
        return f"{goal.text}\n{await self.browser.open(self._app.origin + '/', [self._app.origin])}"

    @tool(final=True)
    def done(self, answer: str = "") -> float:
        """Say that the work is done, and give the answer if there is a question."""
        asked = goal_of(self.task).answer
        return float((not asked or answer.strip().lower() == asked.lower()) and self._is_done())

    def expert(self) -> ToolCall:
        """Go to the page, fill in what differs, press the button; done."""
        goal, view = goal_of(self.task), self.browser.seen
        assert view is not None
        if goal.change is not None and self._is_done():
            return ToolCall("done")
        if urlsplit(view.url).path != goal.path:
            return ToolCall("goto", url=goal.path)
        if goal.answer:
            return ToolCall("done", answer=goal.answer)
        for label, value in goal.fields.items():
            e = next(e for e in view.elements if e.name == label)
            if isinstance(value, bool):
                if value != ("checked" in e.states):
                    return ToolCall("click", ref=e.ref)
            elif e.value != value:
                if e.options:
                    return ToolCall("select", ref=e.ref, option=value)
                return ToolCall("type", ref=e.ref, text=value)
        return ToolCall("click", ref=next(e.ref for e in view.elements if e.name == goal.button))

    def state_key(self) -> Any:
        """The page: its path, and how it reads."""
        view = self.browser.seen
        assert view is not None
        return urlsplit(view.url).path, view.lines()

    def close(self) -> None:
        super().close()
        if self._app is not None:
            self._app.close()
            self._app = None

    def _is_done(self) -> bool:
        assert self._app is not None
        return self._app.contents() == _wanted(self.task)


@lru_cache(maxsize=64)
def _wanted(task: str) -> dict[str, list[tuple[Any, ...]]]:
    return wanted(goal_of(task))
