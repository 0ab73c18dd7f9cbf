"""Every file of tests/cases through the conformance runner, and the runner itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit.conformance import check, differs, read, run

FILES = sorted((Path(__file__).parents[2] / "cases").glob("*.json"))


@pytest.mark.parametrize("case", [pytest.param(c, id=c["id"]) for file in FILES for c in read(file)])
def test_case(case: dict[str, Any]) -> None:
    assert check(case) is None


def made(op: str = "grpo", **changes: Any) -> dict[str, Any]:
    given = {"rewards": [1, 0], "groups": ["p", "p"], "std": False}
    return {"id": "x", "op": op, "input": given, "expected": [0.5, -0.5], **changes}


def test_a_failing_case_says_where_and_the_next_one_still_runs(tmp_path: Path) -> None:
    cases = [made(expected=[0.5, 0.5]), made(), made("gripo"), made(input={"rewards": 3}), made("grpo (remark)")]
    path = tmp_path / "mixed.json"
    path.write_text(json.dumps({"cases": cases}))
    found = [outcome.problem for outcome in run(path)]
    assert found[0] == "[1] is -0.5, not 0.5"
    assert found[1] is None
    assert found[2] is not None
    assert found[2].startswith("unknown op 'gripo'; did you mean 'grpo'?")
    assert found[3] is not None
    assert found[3].startswith("raised TypeError: ")
    assert found[4] is None
    assert run(path)[0].line == f"{path}: x: [1] is -0.5, not 0.5"


@pytest.mark.parametrize(
    ("found", "expected", "agree"),
    [
        (1.000009, 1.0, True),
        (1.00002, 1.0, False),
        (1e6 + 5, 1e6, True),  # relative above 1
        (0.00002, 0.0, False),  # absolute below
        (float("nan"), 0.0, False),
        (float("nan"), float("nan"), False),
        (float("inf"), 1.0, False),
        (np.float64(2.0), 2, True),
        (np.bool_(True), True, True),
        (1, True, False),
        (True, 1, False),
        (None, None, True),
        (0.0, None, False),
        ("a", "a", True),
        (np.array([1.0, 2.0]), [1, 2], True),
        ([1.0], [1, 2], False),
        (1.0, [1.0], False),
        ((0.5, True), [0.5, True], True),
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"b": 2}, {"a": 1}, False),
        (3, {"a": 1}, False),
    ],
)
def test_what_agrees(found: Any, expected: Any, agree: bool) -> None:
    assert (differs(found, expected, 1e-5) is None) is agree


def test_fields_that_the_source_leaves_open_are_not_compared() -> None:
    expected = {"objective": 1.0, "alloc": [4, 2]}
    assert differs({"objective": 1.0, "alloc": [2, 4]}, expected, 1e-5) == "alloc[0] is 2, not 4"
    assert differs({"objective": 1.0, "alloc": [2, 4]}, expected, 1e-5, left_out={"alloc"}) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged or no JSON"),
        ("[]", "is not a file of cases"),
        ('{"cases": []}', "holds no cases"),
        ('{"cases": [1]}', "case 0 is not an object"),
        ('{"cases": [{"id": "a", "input": {}}]}', r"case 0 \(a\) lacks op, expected"),
        ('{"cases": [{"id": "a", "input": {}, "op": "x", "expected": 1, "tolerance": "no"}]}', "tolerance of case a"),
        ('{"cases": [{"id": "a", "input": {}, "op": "x", "expected": 1, "tolerance": NaN}]}', "tolerance of case a"),
        ("\udcff", "is not text"),
    ],
)
def test_a_file_that_is_no_file_of_cases(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=message):
        read(path)
    with pytest.raises(UserError, match="no such file"):
        read(tmp_path / "none.json")
