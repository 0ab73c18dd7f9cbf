"""What an evaluation found, as an object, JSON, CSV and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from agentrl.evaluation.calibration import Calibration
from agentrl.evaluation.statistics import bootstrap, clustered, pass_at, pass_hat, wilson
from agentrl.types import Task, Trajectory, grouped


@dataclass
class Rate:
    """A share of successes with its 95% interval: Wilson's, or by tasks where a task was tried several times."""

    success: float
    ci_low: float
    ci_high: float
    episodes: int

    @classmethod
    def of(cls, trajectories: Sequence[Trajectory]) -> Rate:
        tasks = by_task(trajectories)
        wins, n = sum(t.success for t in trajectories), len(trajectories)
        attempts = {task: [float(t.success) for t in tried] for task, tried in tasks.items()}
        low, high = wilson(wins, n) if len(tasks) == n else clustered(attempts)
        return cls(wins / n if n else 0.0, low, high, n)

    def __str__(self) -> str:
        return f"{self.success:.1%} [{self.ci_low:.1%}, {self.ci_high:.1%}] of {self.episodes}"


@dataclass
class Mean:
    """A mean over tasks with its 95% bootstrap interval; None for ends that fewer than two tasks cannot have."""

    mean: float
    ci_low: float | None
    ci_high: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        low, high = bootstrap(values) if len(values) > 1 else (None, None)
        return cls(float(np.mean(values)) if len(values) else 0.0, low, high)

    def __str__(self) -> str:
        ends = "" if self.ci_low is None else f" [{self.ci_low:.3g}, {self.ci_high:.3g}]"
        return f"{self.mean:.3g}{ends}"


# what is measured of an episode
MEASURES: dict[str, Callable[[Trajectory], float]] = {
    "turns": lambda t: len(t.turns),
    "tokens": lambda t: t.sampled_tokens,
    "reward": lambda t: t.reward,
    "tool_calls": lambda t: sum(len(turn.tool_calls) for turn in t.turns),
    "cost": lambda t: sum(call.cost for turn in t.turns for call in turn.tool_calls),
    "invalid_turns": lambda t: sum(not turn.valid for turn in t.turns),
    "policy_seconds": lambda t: sum(turn.seconds.get("policy", 0.0) for turn in t.turns),
    "env_seconds": lambda t: sum(turn.seconds.get("env", 0.0) for turn in t.turns),
}


@dataclass
class Report:
    """What an evaluation found. Episodes that infrastructure broke are counted apart, never as failures to succeed.

    ``pass_at`` and ``pass_hat``: for k = 1, 2, 4 ... and the number of attempts, over the tasks with k usable ones.
    ``productivity``: successes a tool call; None where no tool was called. ``turn_seconds``: what half and 95% of the
    turns stay below. ``tasks``: the successes of every task, which :func:`agentrl.compare` pairs.
    """

    suite: str
    policy: str
    overall: Rate
    by_type: dict[str, Rate]
    by_split: dict[str, Rate]
    by_level: dict[str, Rate]
    measures: dict[str, Mean]
    pass_at: dict[int, Mean]
    pass_hat: dict[int, Mean]
    productivity: float | None
    turn_seconds: dict[str, float]
    calibration: Calibration | None
    stops: dict[str, int]
    failed: int
    tasks: dict[str, list[bool]] = field(repr=False, default_factory=dict)
    trajectories: list[Trajectory] = field(repr=False, default_factory=list)

    @property
    def success(self) -> float:
        return self.overall.success

    @property
    def turns(self) -> float:
        return self.measures["turns"].mean

    @property
    def tokens(self) -> float:
        return self.measures["tokens"].mean

    @property
    def reward(self) -> float:
        return self.measures["reward"].mean

    def plain(self) -> dict[str, Any]:
        return {
            "suite": self.suite,
            "policy": self.policy,
            **vars(self.overall),
            "by_type": _plain(self.by_type),
            "by_split": _plain(self.by_split),
            "by_level": _plain(self.by_level),
            "turns": self.turns,
            "tokens": self.tokens,
            "reward": self.reward,
            "stop_reasons": self.stops,
            "failed_episodes": self.failed,
            "measures": _plain(self.measures),
            "pass_at_k": _plain(self.pass_at),
            "pass_hat_k": _plain(self.pass_hat),
            "productivity": self.productivity,
            "turn_seconds": self.turn_seconds,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "by_task": self.tasks,
        }

    def json(self) -> str:
        return json.dumps(self.plain())

    def rows(self) -> Iterator[tuple[str, str, float, float | None, float | None, int]]:
        """(what, of which part, value, low, high, episodes): the lines of CSV and Markdown."""
        n = self.overall.episodes
        parts = [("all", "", self.overall)]
        parts += [("task type", name, rate) for name, rate in self.by_type.items()]
        parts += [("split", name, rate) for name, rate in self.by_split.items()]
        parts += [("level", name, rate) for name, rate in self.by_level.items()]
        for kind, name, rate in parts:
            yield f"success: {kind}", name, rate.success, rate.ci_low, rate.ci_high, rate.episodes
        for title, found in (("pass@k", self.pass_at), ("pass^k", self.pass_hat)):
            for k, mean in found.items():
                yield title, str(k), mean.mean, mean.ci_low, mean.ci_high, n
        for name, mean in self.measures.items():
            yield f"{name} an episode", "", mean.mean, mean.ci_low, mean.ci_high, n
        if self.productivity is not None:
            yield "successes a tool call", "", self.productivity, None, None, n
        for name, seconds in self.turn_seconds.items():
            yield "seconds a turn", name, seconds, None, None, n
        if self.calibration is not None:
            for name, value in (("Brier", self.calibration.brier), ("ECE", self.calibration.ece)):
                yield f"calibration: {name}", "", value, None, None, self.calibration.stated

    def csv(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["suite", "policy", "what", "part", "value", "ci_low", "ci_high", "episodes"])
        for what, part, *numbers in self.rows():
            writer.writerow([self.suite, self.policy, what, part, *("" if x is None else x for x in numbers)])
        for name, count in self.stops.items():
            writer.writerow([self.suite, self.policy, "stop reason", name, count, "", "", sum(self.stops.values())])
        return text.getvalue()

    def markdown(self) -> str:
        lines = [f"**{_cell(self.policy)}** on **{_cell(self.suite)}**", ""]
        lines += ["| what | | value | 95% interval | episodes |", "|---|---|---:|---|---:|"]
        for what, part, value, low, high, n in self.rows():
            share = what.startswith(("success:", "pass"))
            shown = [("" if x is None else f"{x:.1%}" if share else f"{x:.4g}") for x in (value, low, high)]
            interval = f"{shown[1]} – {shown[2]}" if shown[1] else ""
            lines.append(f"| {what} | {_cell(part)} | {shown[0]} | {interval} | {n} |")
        stops = ", ".join(f"{name} {count}" for name, count in self.stops.items())
        lines += ["", f"Ended by: {stops}. Broken by infrastructure, not counted: {self.failed}.", ""]
        return "\n".join(lines)

    def __str__(self) -> str:
        return f"{self.policy} on {self.suite}: {self.overall}"

    _repr_markdown_ = markdown  # in notebooks

    def __rich__(self) -> Any:
        from rich.markup import escape
        from rich.table import Table

        table = Table(title=f"{escape(self.policy)} on {escape(self.suite)}", box=None)
        for name in ("task type", "success", "95% interval", "episodes"):
            table.add_column(name, justify="left" if name == "task type" else "right")
        levels = {f"level {name}": rate for name, rate in self.by_level.items()}
        for name, rate in {**self.by_type, **levels, "all": self.overall}.items():
            interval = f"{rate.ci_low:.1%} – {rate.ci_high:.1%}"
            style = "bold" if name == "all" else ""
            table.add_row(escape(name), f"{rate.success:.1%}", interval, str(rate.episodes), style=style)
        return table


def report(suite: str, policy: str, trajectories: Sequence[Trajectory]) -> Report:
    """The figures of some episodes."""
    trusted = [t for t in trajectories if t.trusted]
    tasks = by_task(trusted)
    tries = {task: [t.success for t in tried] for task, tried in tasks.items()}
    calls = sum(len(turn.tool_calls) for t in trusted for turn in t.turns)
    seconds = [sum(turn.seconds.values()) for t in trusted for turn in t.turns]
    return Report(
        suite,
        policy,
        Rate.of(trusted),
        _rates(trusted, lambda t: str(t.info.get("task_type", t.task.env))),
        _rates(trusted, lambda t: str(t.info.get("split", "")) or t.task.env),
        _rates([t for t in trusted if "level" in t.info], lambda t: str(t.info["level"])),
        measures={
            name: Mean.of([float(np.mean([of(t) for t in tried])) for tried in tasks.values()])
            for name, of in MEASURES.items()
        },
        pass_at=_over_attempts(pass_at, tries),
        pass_hat=_over_attempts(pass_hat, tries),
        productivity=sum(t.success for t in trusted) / calls if calls else None,
        turn_seconds={f"p{q}": float(np.percentile(seconds, q)) if seconds else 0.0 for q in (50, 95)},
        calibration=Calibration.of(trusted),
        stops=dict(Counter(t.stop.value for t in trajectories)),
        failed=len(trajectories) - len(trusted),
        tasks=tries,
        trajectories=list(trajectories),
    )


def by_task(trajectories: Sequence[Trajectory]) -> dict[str, list[Trajectory]]:
    """The attempts at every task, whose name holds the environment's arguments."""
    return grouped(trajectories, lambda t: task_name(t.task))


def task_name(task: Task) -> str:
    arguments = ",".join(f"{key}={value}" for key, value in task.kwargs)
    return f"{task.key}({arguments})" if arguments else task.key


def _rates(trajectories: Sequence[Trajectory], part: Callable[[Trajectory], str]) -> dict[str, Rate]:
    return {name: Rate.of(found) for name, found in sorted(grouped(trajectories, part).items())}


def _over_attempts(of: Callable[[int, int, int], float], tries: Mapping[str, Sequence[bool]]) -> dict[int, Mean]:
    most = max((len(t) for t in tries.values()), default=0)
    steps = sorted({*(2**i for i in range(most.bit_length()) if 2**i <= most), most} - {0})
    return {k: Mean.of([of(k, sum(t), len(t)) for t in tries.values() if len(t) >= k]) for k in steps}


def _plain(found: Mapping[Any, Rate | Mean]) -> dict[str, dict[str, Any]]:
    return {str(name): dict(vars(value)) for name, value in found.items()}


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
