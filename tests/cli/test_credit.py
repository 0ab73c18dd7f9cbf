"""``agentrl credit`` as it is typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentrl.cli import main as cli

CASES = Path(__file__).parents[1] / "cases"


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(["credit", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_conformance_counts_and_its_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = run(capsys, "conformance", CASES / "grpo.json")
    assert (code, out) == (0, "9 passed, 0 failed\n")
    case: dict[str, Any] = {"id": "a", "op": "nonsense", "input": {}, "expected": 1}
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps({"cases": [case]}))
    code, out, _ = run(capsys, "conformance", CASES / "grpo.json", bad)
    assert code == 1
    assert out.splitlines()[0].startswith(f"{bad}: a: unknown op 'nonsense'")
    assert out.splitlines()[1:] == ["9 passed, 1 failed"]
    code, out, _ = run(capsys, "conformance", bad, "--json")
    assert code == 1
    assert json.loads(out)["failures"][0]["id"] == "a"


def test_conformance_of_an_unreadable_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = run(capsys, "conformance", tmp_path / "none.json")
    assert (code, out) == (2, "")
    assert err == f"error: no such file: {tmp_path / 'none.json'}\n"
