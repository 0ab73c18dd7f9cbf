"""The short form of ``benchmarks/soak.py``: every kind of fault, written down before it happens, is counted exactly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import importlib

    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("soak")


@pytest.mark.slow
def test_500_episodes_with_faults_of_every_kind(soak: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "soak.py"), "--episodes", "500", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["problems"] == []
    assert found["ledger"] == found["run"]
    assert sum(found["faults"].values()) > 25
    # A close that would have hung may never come: its worker may be lost to another fault first.
    assert set(found["faults"]) | {"hang_close"} == {*soak.faulty.KINDS, "restart"}


def test_the_report_names_what_does_not_hold(soak: ModuleType, tmp_path: Path) -> None:
    lines = [{"kind": "nan", "task": 1}, {"kind": "restart", "requests": 3}, {"kind": "leak", "task": 2}]
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    memory = [(n, 100 + n / 500) for n in range(0, 5000, 500)]
    same, more = {"files": 3}, {"files": 4}
    whole = Counter({"env_invalid/step": 1, "policy_error/policy": 3})
    assert soak.report(tmp_path, whole, [], memory[:3], same, same, 1, 1.0)["problems"] == []
    wrong = soak.report(tmp_path, Counter({"env_crash/step": 1}), ["7: lost"], memory, same, more, 1, 1.0)
    assert wrong["problems"] == [
        "env_invalid/step: ledger 1, run 0",
        "policy_error/policy: ledger 3, run 0",
        "env_crash/step: ledger 0, run 1",
        "7: lost",
        "files: 3 before, 4 after",
        "memory grows by 2.00 MiB per 1,000 episodes",
    ]
