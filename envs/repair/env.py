"""``agentrl/CodeRepair-v0``: a small repository with a failing test, mended with view, search, edit and run.

A task is ``MODULE-MISTAKE/SEED``. What judges is never in the sandbox: the repaired functions are called there, and
what they give is compared here. So taking the test away, or making it pass by other means, earns nothing.
"""

from __future__ import annotations

import random
import re
from contextlib import closing
from typing import Any

from agentrl.envs.ids import by_kind
from agentrl.envs.repair.bugs import BUGS
from agentrl.envs.repair.repository import Repository, repository
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError, unknown
from agentrl.tools import ToolError, tool
from agentrl.tools.sandboxes import SANDBOXES, Limits, Session
from agentrl.tools.sandboxes.pool import shared
from agentrl.types import ToolCall

TRAIN, UNSEEN, NOVEL = range(40), range(40, 46), range(46, 66)  # seeds
NOVEL_TASKS = ("intervals-double", "wrapping-dots", "matrix-sign", "routes-no-way", "likeness-insert",
               "dates-this-month", "figures-any-order", "memory-twice")  # fmt: skip
LIMITS = Limits(wall=30.0, cpu=3.0)
MOST = 20_000  # characters of a file
_PATH = re.compile(r"\w[\w-]*(?:/\w[\w-]*)*\.py")
_TESTS = """
import glob, runpy, sys, traceback
sys.path.insert(0, ".")
for path in sorted(glob.glob("tests/*.py")):
    try:
        tests = {k: v for k, v in runpy.run_path(path).items() if k.startswith("test_")}
    except Exception:
        print(path, "cannot be run:", traceback.format_exc(limit=-1))
        continue
    for name, test in tests.items():
        try:
            test()
        except Exception:
            print(path, name, "FAILED:", traceback.format_exc(limit=-1))
        else:
            print(path, name, "passed")
"""


def splits() -> dict[str, list[str]]:
    every = [f"{module}-{bug}" for module, bugs in BUGS.items() for bug in bugs]
    known = [name for name in every if name not in NOVEL_TASKS]
    return by_kind(known, train=TRAIN, unseen=UNSEEN) | by_kind(NOVEL_TASKS, novel=NOVEL)


class CodeRepair(ToolEnv):
    """A test of this repository fails. Find the mistake in the code, mend it, and submit. The code is judged by what
    its functions give, not by its tests.
    """

    blocking = True  # code runs in a sandbox

    def __init__(self, sandbox: str = "local") -> None:
        if sandbox not in SANDBOXES:
            raise unknown("sandbox", sandbox, SANDBOXES)
        self.sandbox = sandbox

    def start(self, task: str, rng: random.Random) -> str:
        self.task = task
        self.files = dict(self._repository().files)
        self.task_type = task.partition("-")[0]
        changed = self._repository().changed
        self.level = "1 token" if changed == 1 else "2-3 tokens" if changed <= 3 else "4+ tokens"
        return "A test fails. The files:\n" + "\n".join(self.files)

    @tool
    def view(self, path: str) -> str:
        """Read a file."""
        return self._file(path)

    @tool
    def search(self, text: str) -> str:
        """Every line with this text in it, with its file and number."""
        return (
            "\n".join(
                f"{path}:{i}: {line}"
                for path, content in self.files.items()
                for i, line in enumerate(content.splitlines(), 1)
                if text in line
            )
            or "nothing found"
        )

    @tool
    def edit(self, path: str, old: str, new: str) -> str:
        """Put ``new`` in the place of ``old``, which must stand in the file once; without ``old``, make a file."""
        if not old:
            if not _PATH.fullmatch(path) or path in self.files:
                raise ToolError("a new file needs a path of its own, such as folder/name.py")
            self.files[path] = ""
        content = self._file(path)
        if old and content.count(old) != 1:
            raise ToolError(f"that text stands in {path} {content.count(old)} times")
        changed = content.replace(old, new, 1) if old else new
        if len(changed) > MOST or len(self.files) > 50:
            raise ToolError("that is too much")
        self.files[path] = changed
        return "changed"

    @tool
    def run(self, code: str = "") -> str:
        """Run Python code in a copy of the repository; without code, its tests."""
        with closing(self._session(self.files)) as session:
            run = session.run(code or _TESTS)
        if run.stopped:
            raise ToolError(f"stopped at the {run.stopped} limit", f"{run.output}\n[stopped: {run.stopped} limit]")
        return run.output.rstrip("\n") or "(no output)"

    @tool(final=True)
    def submit(self) -> float:
        """Finish: the repository is judged as it is now."""
        return float(self._right())

    def expert(self) -> ToolCall:
        made = self._repository()
        steps = [
            ToolCall("run"),
            ToolCall("view", path=made.path),
            ToolCall("edit", path=made.path, old=made.old, new=made.new),
        ]
        return next((step for step in steps if step not in self.used), ToolCall("submit"))

    def state_key(self) -> Any:
        """The repository as it is, and what was looked at."""
        return self.files, {str(call) for call in self.used}

    def _right(self) -> bool:
        """Every hidden call, in a session that holds neither tests nor what they should give."""
        made = self._repository()
        module = made.path.removesuffix(".py").replace("/", ".")
        code = {path: text for path, text in self.files.items() if not path.startswith("tests/")}
        with closing(self._session(code)) as session:
            session.run(f"import sys; sys.path.insert(0, '.')\nfrom {module} import *")
            return all(session.run(f"print(repr({call}))").output == f"{value}\n" for call, value in made.hidden)

    def _session(self, files: dict[str, str]) -> Session:
        session = shared(self.sandbox, LIMITS).take()
        for path, content in files.items():
            session.write(path, content.encode(errors="replace"))
        return session

    def _file(self, path: str) -> str:
        if path not in self.files:
            raise ToolError(str(unknown("file", path[:80], self.files)))
        return self.files[path]

    def _repository(self) -> Repository:
        name, _, seed = str(self.task).rpartition("/")
        module, _, bug = name.partition("-")
        if bug not in BUGS.get(module, {}) or not seed.isdecimal():
            raise UserError(f"unknown task {self.task!r} of CodeRepair; a task is MODULE-MISTAKE/SEED, as roman-once/0")
        return repository(module, bug, int(seed))
