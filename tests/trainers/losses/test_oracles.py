"""Each loss against its formula in plain Python, value and gradient, on many rows; and a numeric case for each."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from agentrl.trainers.credit.conformance import check
from agentrl.trainers.losses import cases
from agentrl.trainers.losses.registry import ALIASES, BUILTIN, GIVEN, KINDS

_found = importlib.util.spec_from_file_location("oracles", Path(__file__).parent / "oracles.py")
assert _found is not None
assert _found.loader is not None
oracles = sys.modules["oracles"] = importlib.util.module_from_spec(_found)
_found.loader.exec_module(oracles)

EVERY = [(kind, id, {}) for kind in KINDS for id in BUILTIN[kind]]
EVERY += [(kind, id, options) for kind, held in oracles.ORACLES.items() for id in held for options in held[id][1]]
NUMBERS = json.loads((Path(__file__).parents[2] / "cases" / "losses.json").read_text())["cases"]


def drawn(seed: int) -> tuple[Any, list[float], dict[str, Any]]:
    """Rows of one to five sequences: as the oracle reads them, their logprobs, and as a case file writes them."""
    draw = random.Random(seed)
    lengths = [draw.randint(1, 4) for _ in range(draw.randint(1, 5))]
    n = sum(lengths)

    def column(low: float, high: float, whole: bool = False) -> list[float]:
        if whole:  # the same for a sequence's rows
            return [v for length in lengths for v in [float(draw.randint(int(low), int(high)))] * length]
        return [draw.uniform(low, high) for _ in range(n)]

    old = column(-3, -0.05)
    columns = {
        name: [max(-8.0, o + draw.gauss(0, 0.4)) for o in old] for name in ("reference", "sampler", "teacher", "full")
    }
    columns |= {name: column(0, 1, True) for name in ("success", "demonstration")}
    columns |= {"group": column(0, 1, True), "episode_turn": [float(draw.randint(0, 2)) for _ in range(n)]}
    logprobs = [o + draw.gauss(0, 0.4) for o in old]
    rows = {
        "logprobs": logprobs,
        "old": old,
        "advantages": [draw.gauss(0, 1) for _ in range(n)],
        "sample": [s for s, length in enumerate(lengths) for _ in range(length)],
        "entropies": column(0.1, 2),
        "columns": columns,
        "step": draw.choice([0, 100, 300, 900]),
        "memory": {"0": [3.0, 4], "1": [5.0, 3]},
    }
    given = oracles.Given(
        old, rows["advantages"], rows["sample"], rows["entropies"], columns, rows["step"], {0: (3.0, 4), 1: (5.0, 3)}
    )
    return given, logprobs, rows


@pytest.mark.parametrize(("kind", "id", "options"), EVERY)
def test_value_and_gradient_are_those_of_the_formula(kind: str, id: str, options: dict[str, Any]) -> None:
    for seed in range(30):
        given, logprobs, rows = drawn(seed)
        x = given.entropies if id in oracles.BY_ENTROPY else logprobs
        value, slopes = oracles.answers(kind, id, given, x, options)
        found = cases.loss(kind, {id: options}, rows)
        assert found["loss"] == pytest.approx(value, rel=1e-9, abs=1e-9), seed
        if kind != "correction":
            assert found["gradient"] == pytest.approx(slopes, rel=1e-5, abs=1e-6), seed


def test_every_loss_has_an_oracle_and_a_numeric_case() -> None:
    assert {kind: set(held) for kind, held in oracles.ORACLES.items()} == {kind: set(BUILTIN[kind]) for kind in KINDS}
    told = {(case["input"]["kind"], next(iter(case["input"]["loss"]))) for case in NUMBERS}
    assert told == {(kind, id) for kind in KINDS for id in BUILTIN[kind]} | set(ALIASES)
    assert set(GIVEN) <= {"entropies", "lag", *drawn(0)[2]["columns"]}


def test_a_wrong_number_is_noticed() -> None:
    case = json.loads(json.dumps(NUMBERS[0]))
    assert check(case) is None
    case["expected"]["gradient"][0] += 0.01
    assert "gradient" in str(check(case))
