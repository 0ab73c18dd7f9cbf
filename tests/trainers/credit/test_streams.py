"""Methods that remember: SPO and DCPO over several batches, against plain loops; and batch-wide statistics."""

from __future__ import annotations

import math
import statistics

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.trainers.credit import TurnTable, assign

Played = list[tuple[str, float, int, int]]  # (task, outcome, turns, sampled tokens a turn)

episodes = st.tuples(
    st.sampled_from("tuv"), st.sampled_from([0.0, 0.0, 0.5, 1.0]), st.integers(1, 3), st.integers(1, 5)
)
batches = st.lists(st.lists(episodes, min_size=1, max_size=6), min_size=1, max_size=4)


def table_of(played: Played) -> TurnTable:
    """A group a task; a reward at the last turn."""
    return TurnTable.from_arrays(
        ids=[f"{k:02d}" for k in range(len(played))],
        group=[task for task, *_ in played],
        length=[turns for *_, turns, _ in played],
        reward=[outcome * (t == turns - 1) for _, outcome, turns, _ in played for t in range(turns)],
        tokens=[tokens for *_, turns, tokens in played for _ in range(turns)],
    )


def first_turns(found: TurnTable, advantages: np.ndarray, count: int) -> list[float]:
    return [float(advantages[found.rows(f"{k:02d}").start]) for k in range(count)]


@settings(max_examples=500, deadline=None)
@given(batches, st.sampled_from([0.5, 0.875]))
def test_spo(stream: list[Played], rho: float) -> None:
    tally: dict[str, tuple[float, float]] = {}
    state = None
    for played in stream:
        expected = []
        for task, outcome, *_ in played:
            alpha, beta = tally.get(task, (0.5, 0.5))
            expected.append(float(outcome > 0) - alpha / (alpha + beta))
        for task, outcome, *_ in played:
            alpha, beta = tally.get(task, (0.5, 0.5))
            tally[task] = (rho * alpha + (outcome > 0), rho * beta + (outcome <= 0))
        mean = math.fsum(expected) / len(expected)
        spread = statistics.stdev(expected) if len(expected) > 1 else 0.0
        given_ = assign(table_of(played), credit={"spo": {"rho": rho}}, state=state)
        state = given_.state
        found = first_turns(given_.table, given_.advantages, len(played))
        if spread > 1e-6:  # else both divide what rounding left
            np.testing.assert_allclose(found, [(x - mean) / (spread + 1e-8) for x in expected], rtol=1e-6, atol=1e-6)
    assert state is not None
    assert set(state["spo"]) == set(tally)
    for task, pair in tally.items():
        np.testing.assert_allclose(state["spo"][task], pair)


@settings(max_examples=500, deadline=None)
@given(batches)
def test_dcpo_sas(stream: list[Played]) -> None:
    past: dict[str, list[float]] = {}
    visits: dict[str, int] = {}
    state = None
    for played in stream:
        new: dict[str, list[float]] = {}
        for task, outcome, *_ in played:
            new.setdefault(task, []).append(outcome)
        for task, values in new.items():
            past[task] = past.get(task, []) + values
            visits[task] = visits.get(task, 0) + 1

        def against(x: float, values: list[float]) -> float:
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            return (x - math.fsum(values) / len(values)) / (spread + 1e-6) if spread > 1e-9 else 0.0

        expected = []
        for task, outcome, *_ in played:
            i, a_new, a_total = visits[task], against(outcome, new[task]), against(outcome, past[task])
            candidates = a_total / i + (1 - 1 / i) * a_new, a_new / i + (1 - 1 / i) * a_total
            expected.append(candidates)
        credit = assign(table_of(played), credit="dcpo-sas", state=state)
        state = credit.state
        for found, (one, other) in zip(
            first_turns(credit.table, credit.advantages, len(played)), expected, strict=True
        ):
            smaller = min(abs(one), abs(other))
            np.testing.assert_allclose(abs(found), smaller, rtol=1e-6, atol=1e-6)
            assert any(math.isclose(found, x, rel_tol=1e-6, abs_tol=1e-6) for x in (one, other))


@settings(max_examples=500, deadline=None)
@given(st.lists(episodes, min_size=2, max_size=6), st.sampled_from([0.5, 1.0]), st.booleans())
def test_reinforce_pp_whitens_over_tokens(played: Played, gamma: float, baseline: bool) -> None:
    values, counts = [], []
    for task, outcome, turns, tokens in sorted(played, key=lambda p: p[0]):
        same = [o for t, o, *_ in played if t == task]
        for t in range(turns):
            centred = outcome - math.fsum(same) / len(same) if len(same) > 1 else 0.0
            values.append(centred if baseline else outcome * gamma ** (turns - 1 - t))
            counts.append(tokens)
    each = [value for value, n in zip(values, counts, strict=True) for _ in range(n)]
    if len(each) < 2:
        return
    mean, variance = statistics.fmean(each), statistics.variance(each)
    expected = [(value - mean) / math.sqrt(variance + 1e-8) for value in values]
    method = "reinforce-pp-baseline" if baseline else {"reinforce-pp": {"gamma": gamma}}
    np.testing.assert_allclose(assign(table_of(played), credit=[method]).advantages, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=500, deadline=None)
@given(st.lists(episodes, min_size=1, max_size=6), st.booleans())
def test_step_grpo(played: Played, std: bool) -> None:
    expected = []
    for task, outcome, turns, _ in sorted(played, key=lambda p: p[0]):
        for t in range(turns):
            same = [o * (t == n - 1) for other, o, n, _ in played if other == task and n > t]
            x = outcome * (t == turns - 1) - math.fsum(same) / len(same)
            spread = statistics.stdev(same) if len(same) > 1 else 0.0
            expected.append(0.0 if abs(x) < 1e-9 else x / (spread + 1e-6) if std and spread >= 1e-9 else x)
    found = assign(table_of(played), credit={"step-grpo": {"std": std}}).advantages
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
