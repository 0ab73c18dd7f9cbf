"""``agentrl/Desktop-v0``: work to be done with applications, judged by what the home holds and the windows show."""

from __future__ import annotations

import random
import re
from typing import Any

from agentrl.envs.desktop.expert import displayed, next_call
from agentrl.envs.desktop.settings import FILES
from agentrl.envs.desktop.tasks import goal_of, splits
from agentrl.envs.tool_env import ToolEnv
from agentrl.tools import tool
from agentrl.tools.desktop import Desktop as Display
from agentrl.tools.desktop import View
from agentrl.types import ToolCall

_NUMBER = re.compile(r"\[\d+\] ")


class Desktop(ToolEnv):
    """Do what is asked with the programs on the screen. Then call done, with the answer if there is a question.

    ``templates``: the kinds of tasks that the splits hold, as ``note-new+calc-sum``; all, if none is named.
    """

    snapshot_level = "replay"
    points = True
    display = Display()

    def __init__(self, templates: str = "") -> None:
        splits(templates)
        self.task = ""

    def start(self, task: str, rng: random.Random) -> str:
        goal = goal_of(task)
        self.task, self.task_type = task, str(task).partition("/")[0]
        return f"{goal.text}\n{self.display.open(goal.before, goal.programs, FILES)}"

    @tool(final=True)
    def done(self, answer: str = "") -> float:
        """Say that the work is done, and give the answer if there is a question."""
        goal, view = goal_of(self.task), self.seen
        if goal.answer and answer.strip().lower() != goal.answer.lower():
            return 0.0
        if goal.has and not any(e.name == goal.has for e in view.elements):
            return 0.0
        if goal.shown and displayed(view) != goal.shown:
            return 0.0
        return float(self.display.files() == goal.after)

    def expert(self) -> ToolCall:
        """The next call of someone who knows the programs."""
        return next_call(goal_of(self.task), self.seen, self.display.files(), self.used)

    def state_key(self) -> Any:
        """The windows as they read, without the numbers, which tell in what order things were first seen."""
        return [_NUMBER.sub("", line) for line in self.seen.lines()]

    @property
    def seen(self) -> View:
        assert self.display.seen is not None
        return self.display.seen
