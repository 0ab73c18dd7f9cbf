"""Two policies on the same tasks: the difference, how sure it is, and how much more would settle it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.evaluation.report import Report
from agentrl.evaluation.statistics import bootstrap, sign_flip, tasks_needed


@dataclass(frozen=True)
class Outcomes:
    """One side: the successes of every task."""

    name: str
    suite: str
    tasks: Mapping[str, Sequence[bool]]


@dataclass(frozen=True)
class Comparison:
    """``difference``: mean over the shared tasks of (success of b - success of a), with a 95% bootstrap interval.

    ``p``: a paired sign-flip test of no difference, McNemar's exact test where each task was tried once.
    ``better``, ``worse``: tasks that b solves more, or less, often. ``needed_tasks``: after how many such tasks this
    test would find a difference of this size 4 times in 5 (None where there is none), ``needed_episodes`` the same in
    episodes of each side. The test is about these two policies; about two methods only several seeds can tell.
    """

    a: str
    b: str
    suite: str
    tasks: int
    only_a: int
    only_b: int
    success_a: float
    success_b: float
    difference: float
    ci_low: float
    ci_high: float
    p: float
    better: int
    worse: int
    needed_tasks: int | None
    needed_episodes: int | None

    def plain(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def verdict(self) -> str:
        if self.p < 0.05:
            return f"{self.b if self.difference > 0 else self.a} is better"
        if self.needed_tasks is None:
            return "no difference at all"
        more = max(self.needed_tasks, self.tasks + 1)
        episodes = math.ceil(more * (self.needed_episodes or 0) / self.needed_tasks)
        return f"not settled: a difference of this size would need about {more} tasks ({episodes} episodes a side)"

    def __str__(self) -> str:
        return (
            f"a = {self.a}, b = {self.b}, on the same {self.tasks} tasks of {self.suite}\n"
            f"success {self.success_a:.1%} -> {self.success_b:.1%}: {100 * self.difference:+.1f} points "
            f"[{100 * self.ci_low:+.1f}, {100 * self.ci_high:+.1f}], p = {self.p:.2g}\n"
            f"b does better on {self.better} tasks, worse on {self.worse}; {self.verdict}"
        )


def compare(a: str | Path | Report | Outcomes, b: str | Path | Report | Outcomes) -> Comparison:
    """Two reports, or what :func:`outcomes` reads, paired by task.

    Raises UserError where they share no task.
    """
    one, two = outcomes(a), outcomes(b)
    shared = sorted(task for task in one.tasks if task in two.tasks and one.tasks[task] and two.tasks[task])
    if not shared:
        raise UserError(f"{one.name} ({one.suite}) and {two.name} ({two.suite}) have no task in common")
    rates = np.array([[np.mean(side.tasks[task]) for task in shared] for side in (one, two)], np.float64)
    d = rates[1] - rates[0]
    low, high = bootstrap(d) if len(d) > 1 else (-1.0, 1.0)
    attempts = max(float(np.mean([len(side.tasks[task]) for task in shared])) for side in (one, two))
    needed = tasks_needed(d)
    return Comparison(
        one.name,
        two.name,
        one.suite if one.suite == two.suite else f"{one.suite} / {two.suite}",
        len(shared),
        len(one.tasks) - len(shared),
        len(two.tasks) - len(shared),
        float(rates[0].mean()),
        float(rates[1].mean()),
        float(d.mean()),
        low,
        high,
        sign_flip(d),
        int((d > 0).sum()),
        int((d < 0).sum()),
        needed,
        None if needed is None else math.ceil(needed * attempts),
    )


def outcomes(source: str | Path | Report | Outcomes) -> Outcomes:
    """Of a report, the JSON of ``agentrl eval --json``, the folder of ``agentrl eval -o``, or a run (its end).

    Raises UserError where there is no such thing, or where it does not hold the outcome of each task.
    """
    if isinstance(source, Outcomes):
        return source
    if isinstance(source, Report):
        return Outcomes(source.policy, source.suite, source.tasks)
    path = Path(source)
    file = path if path.is_file() else next((f for n in _FILES if (f := path / n).is_file()), None)
    if file is None:
        what = "has no after.json or report.json" if path.is_dir() else "is no file or folder"
        raise UserError(f"{path} {what}: compare takes runs, folders of agentrl eval -o, and files of its --json")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        tasks = {str(task): [bool(x) for x in tried] for task, tried in data["by_task"].items()}
    except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError):
        raise UserError(f"{file} is no report of agentrl eval --json") from None
    except KeyError:
        raise UserError(f"{file} does not say how each task went; make it again with agentrl eval") from None
    return Outcomes(str(source), str(data.get("suite", "?")), tasks)


_FILES = ("after.json", "report.json")  # of a run, of an evaluation's folder
