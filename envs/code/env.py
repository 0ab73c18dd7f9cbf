"""``agentrl/CodeInterpreter-v0``: a question about data files, a Python session in a sandbox, one final answer.

A task is ``template/seed``. The 37 templates of ``train`` and ``unseen`` are the same, with other data; those of
``novel`` are never trained on. The answer must be right to the last digit; numbers may be written in any way that
means the same. An episode comes back by running its code again (snapshot level ``replay``).
"""

from __future__ import annotations

import decimal
import random
from typing import Any

from agentrl.envs.code.template import Problem, problem, templates
from agentrl.envs.ids import by_kind
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.tools import tool
from agentrl.tools.python import Python
from agentrl.tools.sandboxes import Limits
from agentrl.types import ToolCall

TRAIN, UNSEEN, NOVEL = range(0, 60), range(60, 70), range(70, 100)  # seeds
NOVEL_TEMPLATES = ("digits-peaks", "library-never-lent", "log-percentile", "maze-columns", "people-rank",
                   "orders-running-total", "roads-cut")  # fmt: skip
LIMITS = Limits(wall=10.0)


def splits() -> dict[str, list[str]]:
    known = [name for name in templates() if name not in NOVEL_TEMPLATES]
    return by_kind(known, train=TRAIN, unseen=UNSEEN) | by_kind(NOVEL_TEMPLATES, novel=NOVEL)


class CodeInterpreter(ToolEnv):
    """Answer a question about the data files in the current folder. Look at them and compute with python, whose
    session keeps its variables; then give the answer alone.
    """

    python = Python(limits=LIMITS)

    def __init__(self, sandbox: str = "local") -> None:
        self.python = Python(sandbox, LIMITS)
        self.task = ""

    def start(self, task: str, rng: random.Random) -> str:
        self.task = task
        made = self._problem()
        self.task_type = task.partition("-")[0]
        lines = templates()[task.rpartition("/")[0]].lines
        self.level = "1-3 lines" if lines <= 3 else "4-5 lines" if lines <= 5 else "6+ lines"
        for path, content in made.files.items():
            self.python.put(path, content)
        return f"{made.about}\n\n{made.question}"

    @tool(final=True)
    def answer(self, text: str) -> float:
        """Give the answer to the question, without any words around it."""
        return float(same(text, self._problem().answer()))

    def expert(self) -> ToolCall:
        made = self._problem()
        if not self.used:
            return ToolCall("python", code=made.program)
        return ToolCall("answer", text=made.answer())

    def state_key(self) -> Any:
        """What has been run so far, word for word: the same code on the same files gives the same variables."""
        return self.task, self.used

    def _problem(self) -> Problem:
        name, _, seed = str(self.task).rpartition("/")
        if name not in templates() or not seed.isdecimal():
            raise UserError(f"unknown task {self.task!r} of CodeInterpreter; a task is TEMPLATE/SEED")
        return problem(name, int(seed))


def same(given: str, right: str) -> bool:
    """Whether two answers mean the same: part by part between slashes, numbers by value, words without case."""
    left, parts = given.strip().split("/"), right.split("/")
    return len(left) == len(parts) and all(map(_same, left, parts))


def _same(given: str, right: str) -> bool:
    given, right = given.strip().casefold(), right.strip().casefold()
    if given == right:
        return True
    try:
        return decimal.Decimal(given) == decimal.Decimal(right)
    except decimal.InvalidOperation:
        return False
