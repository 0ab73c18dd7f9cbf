"""What is reported of episodes, in every form."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest

import agentrl as ar
from agentrl.evaluation.calibration import Calibration
from agentrl.evaluation.report import report
from agentrl.types import StopReason, Task, ToolRecord, Trajectory, Turn


def episode(task: int, success: bool, *, calls: int = 1, text: str = "", stop: str = "terminated") -> Trajectory:
    ids = np.arange(3)
    turn = Turn(
        "saw",
        prompt_ids=ids,
        completion_ids=ids,
        logprobs=-np.ones(3),
        entropies=np.ones(3),
        text=text,
        rewards={"task": float(success)},
        tool_calls=[ToolRecord("search", {}, cost=0.5) for _ in range(calls)],
        versions=[(0, 0)],
        seconds={"policy": 0.25, "env": 0.05},
    )
    return Trajectory(
        f"{task}-{success}",
        Task("E-v0", task),
        0,
        [turn],
        StopReason(stop),
        success,
        info={"task_type": f"t{task % 2}"},
    )


EPISODES = [episode(task, attempt <= task) for task in range(4) for attempt in range(4)]


def test_the_figures() -> None:
    found = report("suite", "policy", [*EPISODES, episode(9, False, stop="env_error")])
    assert found.overall.episodes == 16
    assert found.success == 10 / 16
    assert found.failed == 1
    assert found.pass_at[1].mean == pytest.approx(10 / 16)
    assert found.pass_at[4].mean == 1.0
    assert found.pass_hat[4].mean == 0.25
    assert found.pass_hat[2].mean == pytest.approx((0 + 1 / 6 + 3 / 6 + 1) / 4)
    assert found.productivity == 10 / 16
    assert found.measures["cost"].mean == 0.5
    assert found.turn_seconds["p50"] == pytest.approx(0.3)
    assert found.stops == {"terminated": 16, "env_error": 1}
    assert found.tasks["E-v0#0"] == [True, False, False, False]
    assert found.overall.ci_low < found.success < found.overall.ci_high


def test_every_form_says_the_same() -> None:
    found = report("suite", "a|b", EPISODES)
    data = json.loads(found.json())
    documented = {"suite", "policy", "success", "ci_low", "ci_high", "episodes", "by_type"}
    assert documented <= set(data)
    assert data["by_type"]["t0"]["episodes"] == 8
    rows = {(row["what"], row["part"]): row for row in csv.DictReader(io.StringIO(found.csv()))}
    assert float(rows["success: all", ""]["value"]) == data["success"]
    assert float(rows["pass^k", "4"]["value"]) == data["pass_hat_k"]["4"]["mean"]
    assert "| success: all |  | 62.5% |" in found.markdown()
    assert r"**a\|b**" in found.markdown()


def test_no_calls_no_productivity_and_no_episodes_no_crash() -> None:
    assert report("s", "p", [episode(1, True, calls=0)]).productivity is None
    empty = report("s", "p", [episode(1, False, stop="env_error")])
    assert empty.overall.episodes == 0
    json.loads(empty.json())
    empty.csv(), empty.markdown()


def test_calibration_of_what_is_stated() -> None:
    said = [episode(i, i < 8, text=f"It is 7. Confidence: {'80%' if i < 10 else 'high'}") for i in range(20)]
    found = Calibration.of(said)
    assert found is not None
    assert found.stated == 10
    assert found.brier == pytest.approx(0.8 * 0.04 + 0.2 * 0.64)
    assert found.ece == pytest.approx(0.0, abs=1e-12)
    assert Calibration.of([episode(1, True)]) is None


def test_comparison_is_paired() -> None:
    a = report("s", "a", [episode(i, i % 4 == 0) for i in range(40)])
    b = report("s", "b", [episode(i, i % 2 == 0) for i in range(40)])
    found = ar.compare(a, b)
    assert (found.tasks, found.better, found.worse) == (40, 10, 0)
    assert found.difference == pytest.approx(0.25)
    assert found.p == pytest.approx(2 / 2**10)
    assert "b is better" in str(found)
    little = ar.compare(report("s", "a", [episode(i, i == 0) for i in range(9)]), report("s", "b", EPISODES[::2]))
    assert "not settled" in little.verdict
    assert little.needed_tasks is not None
    assert little.needed_tasks > 4


def test_what_cannot_be_compared_is_said(tmp_path) -> None:
    a = report("s", "a", [episode(1, True)])
    with pytest.raises(ar.UserError, match="no task in common"):
        ar.compare(a, report("s", "b", [episode(2, True)]))
    with pytest.raises(ar.UserError, match=r"has no after\.json or report\.json"):
        ar.compare(a, tmp_path)
    old = tmp_path / "old.json"
    old.write_text('{"success": 1}')
    with pytest.raises(ar.UserError, match="how each task went"):
        ar.compare(a, old)
    old.write_text("{")
    with pytest.raises(ar.UserError, match="no report"):
        ar.compare(a, old)
