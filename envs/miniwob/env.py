"""MiniWoB++ (Liu et al., 2018) in real Chromium, without Selenium and without its clock.

An episode is begun in the page itself: the page's generator is seeded and asked for a new problem, which takes some
milliseconds. The reward is the benchmark's raw one, -1 to 1; what it takes off for time is left out, and so is its ten
second limit, because a model thinks in its own time. Success is the whole reward.
"""

from __future__ import annotations

import copy
import functools
import importlib.util
import random
from pathlib import Path
from typing import Any

from agentrl.envs.core import StepResult
from agentrl.envs.miniwob.screen import Lost, Screen, click
from agentrl.envs.miniwob.served import served
from agentrl.envs.miniwob.solvers import SOLVERS
from agentrl.envs.miniwob.tasks import LIMIT, LIMITS, TASKS
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError, unknown
from agentrl.tools import ToolError
from agentrl.tools.browser import Element, View, Window
from agentrl.tools.call import Called
from agentrl.types import Action, Content, Message, Part, ToolCall, text_of

# Ends the problem before (its timers with it), seeds the page's generator, and begins a new one.
_BEGIN = """async seed => {
    core.EPISODE_MAX_TIME = 2 ** 31 - 1;
    core.endEpisode(0);
    document.activeElement?.blur();
    Math.seedrandom(String(seed));
    core.startEpisodeReal();
    while (!WOB_TASK_READY) await new Promise(then => setTimeout(then, 5));
    const asked = core.getUtterance();
    return asked.utterance ?? asked;
}"""
_RESULT = "() => [WOB_DONE_GLOBAL, WOB_RAW_REWARD_GLOBAL]"
_FRAME = "#reward-display, #click-canvas, #sync-task-cover, #query"
_FLIGHTS = Window(width=560, height=700, skip=f"{_FRAME}-wrap", leaves=True, places=True, address=False)


class MiniWoB(ToolEnv):
    """Do what is asked on the page. Elements are called by their numbers.

    ``screenshot`` shows the page as an image as well, with the numbers on it.
    """

    reward_range = (-1.0, 1.0)
    points = True
    window = Window(width=400, height=320, skip=_FRAME, leaves=True, places=True, address=False)

    def __init__(self, page: str, screenshot: bool = False) -> None:
        if page not in TASKS:
            raise unknown("MiniWoB task", page, TASKS)
        self.page = page
        self.window = copy.copy(_FLIGHTS if page.startswith("flight.") else type(self).window)
        self.window.screenshot = screenshot
        self.max_turns = LIMITS.get(page, LIMIT)
        self.utterance = ""
        self.done: list[tuple[ToolCall, Element | None]] = []  # the calls that worked, and what they were about

    async def start(self, task: int, rng: random.Random) -> list[Message]:
        if isinstance(task, bool) or not isinstance(task, int):
            raise UserError(f"unknown MiniWoB task {task!r}; a task is the seed of its page, a whole number")
        origin, path = pages().as_uri(), f"/miniwob/{self.page}.html"
        if self.page.startswith("flight."):
            origin, path = served(str(pages())), f"/flight/{self.page.removeprefix('flight.')}/wrapper.html"
        if not self.window.at(origin + path):
            await self.window.open(origin + path, [origin])
        self.done = []
        self.utterance, page = await self.window.begin(_BEGIN, task)
        parts: list[Part] = [{"type": "text", "text": page}] if isinstance(page, str) else page
        content: Content = [{"type": "text", "text": self.utterance}, *parts]
        return [{"role": "user", "content": content if len(parts) > 1 else text_of(content)}]

    async def astep(self, action: Action) -> StepResult:
        observation, _, _, _, info = await super().astep(action)
        over, reward = await self.window.evaluate(_RESULT)
        if not over:
            return observation, 0.0, False, False, {**info, "success": False}
        self._open = False
        return observation, min(1.0, max(-1.0, float(reward))), True, False, {**info, "success": reward >= 1}

    async def _use(self, action: ToolCall) -> Called:
        element = next((e for e in self.seen.elements if e.ref == action.arguments.get("ref")), None)
        called = await super()._use(action)
        if called.record.error is None:
            self.done.append((action, element))
        return called

    async def _answer(self, text: str) -> StepResult:
        return self._refuse("Plain text does nothing here: call a tool.")

    def expert(self) -> Action:
        """The next call of the task's scripted solver. Raises UserError for a task without one.

        Where the page does not show what the solver looks for (somebody else has acted too) it is a click on what has
        been clicked least.
        """
        if self.page not in SOLVERS:
            raise UserError(
                f"agentrl/MiniWoB-{self.page}-v0 has no expert; tasks with one: {', '.join(sorted(SOLVERS))}"
            )
        screen = Screen(self.utterance, self.seen.elements, " ".join(self.seen.lines()), self.done)
        try:
            return SOLVERS[self.page](screen)
        except (Lost, LookupError, StopIteration, ToolError, ValueError):
            return click(screen.next(screen.elements)) if screen.elements else ToolCall("press", key="Tab")

    def state_key(self) -> Any:
        """What is asked, and the page as it reads; where things lie is not told apart."""
        return self.utterance, self.seen.lines()

    @property
    def seen(self) -> View:
        assert self.window.seen is not None
        return self.window.seen


@functools.cache
def pages() -> Path:
    """The folder of the pages. Raises ImportError without the package."""
    found = importlib.util.find_spec("miniwob")
    folder = Path(found.origin).parent / "html" if found and found.origin else None
    if folder is None or not folder.is_dir():
        raise ImportError("No module named 'miniwob'")
    return folder
