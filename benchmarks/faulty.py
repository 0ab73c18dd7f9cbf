"""An environment that misbehaves on purpose, and writes down what it is about to do before it does it.

A task is a number. Which tasks misbehave, how, and whether they do so once or each time follows from the number.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import agentrl as ar
from agentrl.envs.core import ResetResult, StepResult
from agentrl.types import Action

TURNS = 3
# What a fault does, and what the run must count it as; a leak breaks no episode.
KINDS = {
    "hang_reset": "env_timeout/reset",
    "hang_step": "env_timeout/step",
    "hang_close": "env_timeout/close",
    "late": "env_timeout/step",
    "crash": "env_crash/step",
    "segfault": "env_crash/reset",
    "exception": "env_error/step",
    "garbage_reset": "env_invalid/reset",
    "garbage_step": "env_invalid/step",
    "nan": "env_invalid/step",
    "huge": "env_invalid/step",
    "leak": "",
}
# What a thread of the engine's own process can do without taking it along.
IN_THREAD = ("late", "exception", "garbage_reset", "garbage_step", "nan", "huge", "hang_close")
_leaked: list[Any] = []


def fault_of(task: int, share: float, kinds: tuple[str, ...] = tuple(KINDS)) -> tuple[str, bool] | None:
    """The fault of a task and whether it comes at every try: one task of every ``1 / share``, the kinds in turn."""
    block = round(1 / share)
    index = task // block
    rng = random.Random(f"fault {index}")
    if task % block != rng.randrange(block):
        return None
    kind = kinds[index % len(kinds)]
    return kind, rng.random() < 0.1 and kind not in ("leak", "hang_close")


@ar.register("Faulty-v0", splits={"train": range(1_000_000)}, max_turns=10)
class Faulty(ar.Env):
    """``ledger`` is a folder: one file of lines, and a mark for every task that has had its fault.

    ``seconds`` is the deadline that a hang must exceed.
    """

    instructions = "Say anything."

    def __init__(self, ledger: str = "", share: float = 0.05, seconds: float = 1.0, threads: bool = False) -> None:
        self.ledger, self.share, self.seconds, self.threads = Path(ledger), share, seconds, threads
        self.fault: str | None = None
        self.closing: int | None = None  # the task for whose sake close will hang
        self.stubborn = False
        self.task, self.turn = -1, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        self.task, self.turn = (options or {})["task"], 0
        found = fault_of(self.task, self.share, IN_THREAD if self.threads else tuple(KINDS))
        self.fault, self.stubborn = found or (None, False)
        if self.fault == "hang_close":
            self.closing = self.task
        if self.fault == "hang_reset" and self.write():
            time.sleep(1000)
        if self.fault == "segfault" and self.write():
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.fault == "garbage_reset" and self.write():
            return random.choice((None, ("x",), (3.5, {}), ([{"role": 1}], {}), ("x", None), object()))  # type: ignore[return-value]
        return f"start {self.task}", {}

    def step(self, action: Action) -> StepResult:
        self.turn += 1
        answer: Any = f"ok {self.turn}", float(self.turn == TURNS), self.turn == TURNS, False, {}
        if self.turn != 2 or self.fault is None or self.fault == "hang_close" or not self.write():
            return answer  # type: ignore[no-any-return]
        if self.fault == "hang_step":
            time.sleep(1000)
        if self.fault == "late":  # and answers after all
            if self.threads:
                self.closing = None  # it is given up: nobody waits for what its close does
            time.sleep(1.5 * self.seconds)
        if self.fault == "crash":
            os._exit(7)
        if self.fault == "exception":
            raise KeyError(f"fault of {self.task}")
        if self.fault == "garbage_step":
            return random.choice(
                (None, (1, 2), ("x", "much", False, False, {}), (None, 0.0, False, False, {}), object())
            )  # type: ignore[return-value]
        if self.fault == "nan":
            return "x", float("nan"), False, False, {}
        if self.fault == "huge":
            return "x" * 100_000_000, 0.0, False, False, {}
        if self.fault == "leak":
            leak()
        return answer  # type: ignore[no-any-return]

    def close(self) -> None:
        if self.closing is not None:
            self.fault, self.task, self.closing = "hang_close", self.closing, None
            if self.write():
                time.sleep(2 * self.seconds if self.threads else 1000)
        super().close()

    def write(self) -> bool:
        """Whether the fault comes now: then the ledger has its line already."""
        mark = self.ledger / f"{self.task}"
        if not self.stubborn:
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                return False
        line = json.dumps({"kind": self.fault, "task": self.task, "stubborn": self.stubborn}) + "\n"
        handle = os.open(self.ledger / "lines.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, line.encode())  # one call: whole lines, whoever else writes
        os.close(handle)
        return True


def leak() -> None:
    """Memory, files, threads and a child, which only the end of the process gives back."""
    _leaked.append(bytearray(5_000_000))
    _leaked.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(20))
    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
    _leaked.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"]))
