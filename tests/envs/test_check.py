import itertools
import json
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

import agentrl as ar
from agentrl.envs import registry
from agentrl.envs.check import Report, check
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.tools import tool
from agentrl.types import ToolCall

SPLITS = {"train": range(50), "unseen": range(50, 60)}


class Safe(ToolEnv):
    """Open the safe whose number is given after a request."""

    def start(self, task: int, rng: random.Random) -> str:
        self.number, self.asked = random.Random(task).randrange(1000, 10_000), False
        return f"Safe {task} is closed."

    @tool
    def ask(self) -> str:
        """Ask for the number."""
        self.asked = True
        return str(self.number)

    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn to a number; the game ends."""
        return float(number == self.number)

    def expert(self) -> Any:
        return ToolCall("turn", number=self.number) if self.asked else ToolCall("ask")


def judged(cls: type[ToolEnv], **registration: Any) -> Report:
    registry.register(f"{cls.__name__}-v0", entry_point=cls, **{"splits": SPLITS, "max_turns": 4, **registration})
    return check(f"{cls.__name__}-v0", episodes=6)


def test_a_sound_environment_passes(guess: str) -> None:
    assert judged(Safe).ok
    report = ar.check(guess)
    assert report.ok, report
    assert {c.status for c in report.checks} == {"pass"}


def test_check_takes_a_class_or_an_instance() -> None:
    registry.register("Safe-v0", entry_point=Safe, splits=SPLITS, max_turns=4)
    assert check(Safe, episodes=3).env == check(Safe(), episodes=3).env == "Safe-v0"
    with pytest.raises(UserError, match="ToolEnv is not registered"):
        check(ToolEnv)
    with pytest.raises(UserError, match="unknown environment"):
        check("Nowhere-v0")


def test_the_report() -> None:
    class Broken(Safe):
        def expert(self) -> Any:
            return ToolCall("turn", number=-1)

    report = judged(Broken)
    assert not report.ok
    assert "expert" in [c.name for c in report.failures]
    assert "FAIL" in repr(report)
    assert "the expert fails 6 of 6 episodes, first task 0, seed 0" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["ok"] is False


class Crashing(Safe):
    def start(self, task: int, rng: random.Random) -> str:
        if task == 50:
            raise KeyError("no such room")
        return super().start(task, rng)


class Unseeded(Safe):
    @tool
    def ask(self) -> str:
        """Ask."""
        self.asked = True
        return f"{self.number}, said at {os.urandom(4).hex()}"


class Remembering(Safe):
    """What one episode did shows in the next."""

    def __init__(self) -> None:
        self.episodes = itertools.count()

    def start(self, task: int, rng: random.Random) -> str:
        return super().start(task, rng) + f" Episode {next(self.episodes)}."


class Shared(Safe):
    table: dict[str, int] = {}

    def start(self, task: int, rng: random.Random) -> str:
        self.table["number"] = random.Random(task).randrange(1000, 10_000)
        return super().start(task, rng)

    @tool
    def ask(self) -> str:
        """Ask."""
        self.asked, self.number = True, self.table["number"]
        return str(self.number)


class Forgetful(Safe):
    outside: dict[int, int] = {}

    def start(self, task: int, rng: random.Random) -> str:
        self.outside[id(self)] = 0
        return super().start(task, rng)

    @tool
    def ask(self) -> str:
        """Ask."""
        self.asked = True
        self.outside[id(self)] += 1
        return f"{self.number}, asked {self.outside[id(self)]} times"

    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        return float(self.asked and number == self.number)


class Generous(Safe):
    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        return 5.0 if number == self.number else 0.0


class Endless(Safe):
    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        return float("nan")


class Lazy(Safe):
    async def astep(self, action: Any) -> Any:
        return ("", 1.0, True, False, {"success": True}) if action == "" else await super().astep(action)


class Easy(Safe):
    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        return 1.0


class Telling(Safe):
    def start(self, task: int, rng: random.Random) -> str:
        return super().start(task, rng) + f" The number is {self.number}."


class Fragile(Safe):
    async def astep(self, action: Any) -> Any:
        if isinstance(action, str):
            action.encode()
        return await super().astep(action)


class Leaking(Safe):
    kept: list[bytes] = []

    def start(self, task: int, rng: random.Random) -> str:
        self.kept.append(os.urandom(100_000))
        return super().start(task, rng)


class Unclosable(Safe):
    def close(self) -> None:
        assert not vars(self).setdefault("closed", False), "closed already"
        self.closed = True


class Restless(Safe):
    """The task does not fix the start."""

    def start(self, task: int, rng: random.Random) -> str:
        return super().start(task, rng) + f" It is {rng.randrange(24)} o'clock."


class Unpickable(Safe):
    """The seed does not fix the task."""

    def pick_task(self, seed: int | None, options: Any) -> Any:
        return options["task"] if options else random.randrange(50)


class Deep(Safe):
    """Only who plays well sees that something is wrong."""

    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        return random.uniform(0.9, 1.0) if number == self.number else 0.0


class Unsaved(Safe):
    """Promises what it does not have."""

    snapshot = restore = None


class Guessable(Safe):
    """Chance gets as far as anybody could, and nobody says how to do better."""

    expert = None

    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        return 1.0


class Objects(Safe):
    async def areset(self, **kwargs: Any) -> Any:
        observation, info = await super().areset(**kwargs)
        return observation, {**info, "self": self}


class Numbers(Safe):
    async def areset(self, **kwargs: Any) -> Any:
        await super().areset(**kwargs)
        return 3, {}


class Parts(Safe):
    async def astep(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = await super().astep(action)
        return observation, reward, terminated, truncated, {**info, "rewards": {"goal": reward, "shape": 0.5}}


class Late(Safe):
    @tool
    def ask(self) -> str:
        """Ask."""
        self.asked = True
        time.sleep(0.006)
        return str(self.number)

    @tool(final=True)
    def turn(self, number: int) -> float:
        """Turn."""
        self.ask()
        return float(number == self.number)


@pytest.mark.parametrize(
    ("cls", "name", "why"),
    [
        (Crashing, "resets", r"reset to task 50 raised KeyError: 'no such room' \(test_check.py:"),
        (Unseeded, "determinism", "played again with the same task and seed, the observation of turn"),
        (Remembering, "determinism", "the observation of turn 0 is"),
        (Shared, "isolation", "beside a second instance, the observation of turn"),
        (Forgetful, "snapshots", "restored, the observation of turn"),
        (Generous, "rewards", r"add up to 5, outside 0\.\.1"),
        (Endless, "spaces", "the reward nan, which is not a finite number"),
        (Lazy, "idle", "saying nothing earns 1"),
        (Easy, "random_play", "under 50 points apart"),
        (Telling, "answer", "holds the expert's last action in 6 of 6 tasks"),
        (Fragile, "hostile", r"step\('.ud800'\) raised UnicodeEncodeError"),
        (Leaking, "memory", r"every episode leaves \d+ KiB behind"),
        (Unclosable, "close", "raised AssertionError: closed already"),
        (Restless, "determinism", "the task must fix start and goal"),
        (Unsaved, "snapshots", r"snapshot\(\) and restore\(\) are missing"),
        (Unpickable, "determinism", r"reset\(seed=\d\) must pick the same task"),
        (Deep, "determinism", "the reward of turn 2 is"),
        (Guessable, "random_play", "there is no expert, at best 100%: under 50 points apart"),
        (Objects, "resets", "info must hold plain data: not Objects"),
        (Numbers, "resets", "reset gives 3, which is neither text nor messages"),
        (Parts, "spaces", "do not add up to the reward"),
        (Late, "latency", "set blocking = True"),
    ],
)
def test_each_fault_is_found_by_its_clause(cls: type[ToolEnv], name: str, why: str) -> None:
    failures = {c.name: c.why for c in judged(cls).failures}
    assert name in failures, failures
    assert re.search(why, failures[name]), failures[name]


@pytest.mark.parametrize(
    ("splits", "why"),
    [
        ({"train": range(10), "unseen": range(9, 12)}, "task 9 is in both 'train' and 'unseen'"),
        ({"train": range(10), "unseen": []}, "split 'unseen' is empty"),
        ({"train": [(1, 2)]}, "task ids must be text or whole numbers"),
    ],
)
def test_splits(splits: dict[str, Any], why: str) -> None:
    report = judged(Safe, splits=splits)
    assert [c.name for c in report.failures] == ["splits"]
    assert why in report.failures[0].why
    assert {c.status for c in report.checks[2:]} == {"skip"}


def test_declared_random_success() -> None:
    assert not [c for c in judged(Easy, random_success=0.9).failures if c.name == "random_play"]
    lies = {c.name: c.why for c in judged(Easy, random_success=0.1).failures}
    assert "declared is 10%" in lies["random_play"]


def test_what_cannot_be_judged_is_skipped() -> None:
    class Live(Safe):
        def start(self, task: int, rng: random.Random) -> str:
            self.live: Callable[[], int] = lambda: 1
            return super().start(task, rng)

    class Unsolved(ToolEnv):
        """Say anything."""

        def start(self, task: int, rng: random.Random) -> str:
            return "?"

        def score(self, answer: str) -> float:
            return float(answer == "the answer")

    skipped = {c.name: c.why for c in judged(Live).checks if c.status == "skip"}
    assert skipped == {"snapshots": "snapshot_level is 'none': episodes cannot branch"}
    report = judged(Unsolved)
    assert report.ok
    assert {c.name for c in report.checks if c.status == "skip"} == {"expert", "answer"}


def test_a_missing_dependency_is_told() -> None:
    registry.register("Web-v0", entry_point="no_such_browser:Web", splits=SPLITS, max_turns=4, extra="web")
    report = check("Web-v0")
    assert [c.name for c in report.failures] == ["builds"]
    assert "pip install 'agentrl-toolkit[web]'" in report.failures[0].why
