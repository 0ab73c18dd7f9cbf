"""Numbers that others can hold us to: cases in JSON files, run through the very functions that training uses.

    {"algorithm": "grpo", "cases": [{"id", "op", "input": {...}, "expected", "tolerance", ...}]}

``op`` names an entry of :data:`agentrl.trainers.credit.cases.OPS`, ``input`` its keyword arguments. A number agrees
where it is within ``tolerance * max(1, |expected|)``; truth values, texts and null must be equal. The fields named in
``ambiguous_fields`` (where the source leaves a choice) are not compared.
"""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.errors import UserError, unknown

TOLERANCE = 1e-5
_KEYS = ("id", "op", "input", "expected")


@dataclass(frozen=True)
class Outcome:
    """What came of one case. ``problem`` is None where it agrees."""

    file: str
    id: str
    problem: str | None

    @property
    def line(self) -> str:
        return f"{self.file}: {self.id}: {self.problem or 'agrees'}"


def read(path: str | Path) -> list[dict[str, Any]]:
    """The cases of one file. Raises UserError, with file and case, for what is not a file of cases."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such file: {path}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise UserError(f"{path} is not a file of cases: it is not text") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged or no JSON: {error}") from None
    cases = found.get("cases") if isinstance(found, dict) else None
    if not isinstance(cases, list):
        raise UserError(f'{path} is not a file of cases: {{"algorithm": ..., "cases": [...]}}')
    if not cases:
        raise UserError(f"{path} holds no cases")
    for k, case in enumerate(cases):
        if not isinstance(case, dict) or not isinstance(case.get("input"), dict):
            raise UserError(f"{path}: case {k} is not an object with an object as its input")
        if missing := [key for key in _KEYS if key not in case]:
            raise UserError(f"{path}: case {k} ({case.get('id', 'without id')}) lacks {', '.join(missing)}")
        tolerance = case.get("tolerance", TOLERANCE)
        if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not tolerance >= 0:
            raise UserError(f"{path}: tolerance of case {case['id']} must be a number from 0, not {tolerance!r}")
    return cases


def run(path: str | Path) -> list[Outcome]:
    """Every case of a file, in order. A case that raises fails; only an unreadable file raises (UserError)."""
    return [Outcome(str(path), str(case["id"]), check(case)) for case in read(path)]


def check(case: Mapping[str, Any]) -> str | None:
    """Why a case fails, in a line; None where it agrees."""
    from agentrl.trainers.credit.cases import OPS, op

    name = str(case["op"]).partition("(")[0].strip()  # what stands in brackets is a remark
    if name not in OPS:
        return str(unknown("op", name, OPS))
    try:
        found = op(name)(**case["input"])
    except Exception as error:  # whatever a case provokes is that case's failure, and the next one still runs
        return f"raised {type(error).__name__}: {' '.join(str(error).split())}"
    left_out = set(case.get("ambiguous_fields", ()))
    return differs(found, case["expected"], float(case.get("tolerance", TOLERANCE)), left_out=left_out)


def differs(
    found: Any, expected: Any, tolerance: float, where: str = "", left_out: set[str] | frozenset[str] = frozenset()
) -> str | None:
    """The first place at which ``found`` is not ``expected``, in words; None where there is none."""
    at = where or "the result"
    if hasattr(found, "tolist"):
        found = found.tolist()
    if isinstance(expected, dict):
        if not isinstance(found, Mapping):
            return f"{at} is {found!r}, not an object"
        for key, value in expected.items():
            if key in left_out:
                continue
            if key not in found:
                return f"{at} has no {key}"
            if problem := differs(found[key], value, tolerance, f"{where}.{key}" if where else key):
                return problem
        return None
    if isinstance(expected, list):
        if not isinstance(found, list | tuple) or len(found) != len(expected):
            return f"{at} is {found!r}, not {expected!r}"
        parts = (
            differs(f, e, tolerance, f"{where}[{i}]") for i, (f, e) in enumerate(zip(found, expected, strict=True))
        )
        return next(filter(None, parts), None)
    return None if _same(found, expected, tolerance) else f"{at} is {found!r}, not {expected!r}"


def _same(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, bool) or not isinstance(expected, int | float):
        return type(found) is type(expected) and bool(found == expected)
    if isinstance(found, bool) or not isinstance(found, numbers.Real) or not math.isfinite(found):
        return False
    return abs(float(found) - expected) <= tolerance * max(1.0, abs(expected))
