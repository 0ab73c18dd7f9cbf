"""The tool environment of the examples, as an author goes: registered, checked, imitated, trained a few steps."""

import importlib.util
import sys
from pathlib import Path

import pytest

import agentrl as ar
from agentrl import store

FILE = Path(__file__).parent.parent / "examples" / "powers.py"


def test_it_is_short_and_the_readme_shows_it():
    assert len(FILE.read_text().splitlines()) <= 25
    assert FILE.read_text() in (FILE.parents[1] / "README.md").read_text()


@pytest.mark.slow
def test_it_is_checked_and_trained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = importlib.util.spec_from_file_location("powers", FILE)
    module = importlib.util.module_from_spec(found)
    monkeypatch.setitem(sys.modules, "powers", module)
    found.loader.exec_module(module)
    report = ar.check("Powers-v0", episodes=4)
    assert report.ok, str(report)
    ar.collect("Powers-v0", "expert", 60, tmp_path / "demos")
    calls = [call for group in store.read("demos") for t in group for turn in t.turns for call in turn.tool_calls]
    assert len(calls) == 60
    assert {(call.name, call.error) for call in calls} == {("python", None)}
    assert all(call.seconds > 0 for call in calls)
    base = ar.sft(tmp_path / "demos", from_scratch="1m", out="policies/powers")
    changes = ["rollout.tasks=2", "evaluate=false", "limits.turn_tokens=64"]
    run = ar.train("Powers-v0", policy=base, iterations=2, group=4, rewards=["otc"], credit=["grpo"], set=changes)
    report = ar.evaluate("Powers-v0:unseen", run.policy, limit=8)
    assert (report.overall.episodes, report.failed) == (8, 0)
