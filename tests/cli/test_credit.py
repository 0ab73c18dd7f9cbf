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


def lines(folder: Path) -> Path:
    """Two trajectories that begin alike, one that failed."""
    step = {"action": "go", "tool_calls": 0, "valid": True, "tokens": 1, "entropies": [0.1]}
    made = [
        {"group": "g", "id": id, "outcome": float(won), "ended": ended, "steps": [step | {"state": s, "reward": r}]}
        for id, won, ended, s, r in [
            ("b", 1, "terminated", "[x]", 1.0),
            ("a", 0, "terminated", "[x]", 0.0),
            ("f", 0, "failed", "[x]", 0.0),
        ]
    ]
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, made)))
    return path


def test_apply_prints_a_line_a_trajectory_in_the_order_of_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = lines(tmp_path)
    code, out, err = run(capsys, "apply", path, "--estimator", "grpo,gigpo-step", "--set", "std=false", "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": "b", "advantages": [1.0]},
        {"id": "a", "advantages": [-1.0]},
        {"id": "f", "excluded": "failed"},
    ]
    code, out, _ = run(capsys, "apply", path, "--estimator", "grpo", "--set", "std=false")
    assert code == 0
    assert "+0.50" in out
    assert "left out: failed" in out


def test_apply_takes_stored_trajectories(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from agentrl import api

    api.collect("agentrl/Household-v0", "random", 4, tmp_path, kwargs={"size": "tiny"})
    code, out, _ = run(capsys, "apply", tmp_path, "--estimator", "invalid-penalty,rloo", "--json")
    assert code == 0
    assert len(out.splitlines()) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--estimator", "gripo"], "unknown credit method 'gripo'; did you mean 'grpo'"),
        (["--estimator", "grpo", "--set", "stdd=1"], "unknown option of grpo 'stdd'; did you mean 'std'"),
        (["--estimator", "grpo", "--set", "std"], "--set takes key=value"),
        (["--estimator", "grpo", "--set", "ddof=x"], "option ddof of grpo"),
        (["--estimator", "whiten"], "credit needs at least one estimator"),
        (["--estimator", ""], "name at least one estimator"),
        (["--preset", "none"], "unknown preset 'none'"),
    ],
)
def test_apply_refuses_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    code, out, err = run(capsys, "apply", lines(tmp_path), *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_damaged_file_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = lines(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    code, out, err = run(capsys, "apply", path, "--json")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {path}, line 3 is cut off or no JSON")
    assert run(capsys, "apply", tmp_path / "none")[0] == 2
    (tmp_path / "empty").mkdir()
    assert "no trajectories" in run(capsys, "apply", tmp_path / "empty")[2]


def test_list_names_every_method(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "list", "--json")
    assert code == 0
    rows = {row["id"]: row for row in json.loads(out)}
    assert rows["invalid-penalty"]["kind"] == "transform"
    assert rows["whiten"]["kind"] == "modulator"
    assert "grpo" in run(capsys, "list")[1]


def test_compare_and_explain_in_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    path = lines(tmp_path)
    code, out, err = run(capsys, "compare", path, "--estimators", "grpo,gigpo")
    assert (code, err) == (0, "")
    assert "alone in its state" in out
    found = json.loads(run(capsys, "compare", path, "--estimators", "grpo,gigpo", "--json")[1])
    assert found["turns"] == 2
    code, out, err = run(capsys, "explain", path, "--group", "g", "--estimators", "grpo,gigpo-step")
    assert (code, err) == (0, "")
    assert "[x]" in out  # not taken for markup
    assert "+0.707" in out
    assert "left out: failed" in out
    found = json.loads(run(capsys, "explain", path, "--group", "0", "--json")[1])
    assert found["columns"] == ["grpo", "advantage"]
    assert "unknown group" in run(capsys, "explain", path, "--group", "q")[2]
    code, out, _ = run(capsys, "explain", path, "--group", "g", "--html", tmp_path / "page.html")
    assert (code, out.startswith("group g:")) == (0, True)
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert run(capsys, "explain", path, "--group", "g", "--html", tmp_path / "new" / "page.html")[0] == 0


def test_apply_by_token_prints_an_advantage_a_token(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    step = {"state": "s", "action": "go", "tool_calls": 0, "valid": True}
    steps = [
        step | {"reward": 0.0, "tokens": 2, "values": [0.1, 0.2]},
        step | {"reward": 1.0, "tokens": 1, "values": [0.5]},
    ]
    line = {"group": "g", "id": "a", "outcome": 1.0, "steps": steps}
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(line))
    code, out, _ = run(capsys, "apply", path, "--estimator", "gae-token", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["token_advantages"] == [[0.9, 0.8], [0.5]]  # what was earned, less what was expected
    assert found["advantages"] == pytest.approx([0.85, 0.5])
    code, out, _ = run(capsys, "apply", path, "--estimator", "gae", "--set", "lam=1", "--json")
    assert json.loads(out) == {"id": "a", "advantages": [0.9, 0.5]}
    path.write_text(json.dumps(line | {"ended": "truncated"}))
    code, out, err = run(capsys, "apply", path, "--estimator", "gae")
    assert (code, out) == (2, "")
    assert "the value after an episode that was cut short (bootstrap=false counts the cut as an end)" in err
    path.write_text(json.dumps(line | {"ended": "truncated", "last_value": 0.5}))
    code, out, _ = run(capsys, "apply", path, "--estimator", "gae", "--set", "lam=0", "--json")
    assert json.loads(out)["advantages"] == pytest.approx([0.4, 1.0])
    del steps[0]["values"]
    path.write_text(json.dumps(line))
    code, _, err = run(capsys, "apply", path, "--estimator", "gae-token")
    assert code == 2
    assert "gae-token needs a critic's value of each sampled token, and trajectory 'a', turn 0 has none" in err
