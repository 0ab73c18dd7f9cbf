"""Allocations against the best of all, tried one by one."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.credit.allocation import (
    aepo_budget,
    trace_prefix_alloc,
    trace_prefix_value,
    trace_root_alloc,
    trace_root_value,
    trace_tree_target,
)

chances = st.floats(0, 1)


@settings(max_examples=60)
@given(st.lists(chances, min_size=1, max_size=4), st.integers(0, 8), st.integers(0, 5))
def test_roots_get_the_best_allocation(v: list[float], budget: int, m_max: int) -> None:
    alloc, objective = trace_root_alloc(v, budget, m_max)
    options = [m for m in range(m_max + 1) if m != 1]
    best = max(
        sum(trace_root_value(p, m) for p, m in zip(v, ms, strict=True))
        for ms in product(options or [0], repeat=len(v))
        if sum(ms) <= budget
    )
    assert objective == pytest.approx(best, abs=1e-12)
    assert sum(alloc) <= budget
    assert all(m == 0 or 2 <= m <= m_max for m in alloc)
    assert objective == pytest.approx(sum(trace_root_value(p, m) for p, m in zip(v, alloc, strict=True)))


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0, 0.5]), chances), min_size=1, max_size=3), st.integers(0, 6))
def test_prefixes_get_the_best_allocation(nodes: list[tuple[float, float]], budget: int) -> None:
    k, objective = trace_prefix_alloc(nodes, budget)
    best = max(
        sum(trace_prefix_value(r, v, n) for (r, v), n in zip(nodes, ns, strict=True))
        for ns in product(range(budget + 1), repeat=len(nodes))
        if sum(ns) <= budget
    )
    assert sum(k) <= budget
    assert objective == pytest.approx(best, abs=1e-9)


def test_nothing_is_spent_where_nothing_can_be_gained() -> None:
    assert trace_prefix_alloc([(1.0, 1.0), (0.0, 0.0)], 5) == ([0, 0], 0.0)
    assert trace_prefix_alloc([], 5) == ([], 0)
    assert trace_root_alloc([0.0, 1.0], 5, 4) == ([0, 0], 0.0)
    assert trace_root_value(0.3, 1) == trace_root_value(0.3, 0) == 0.0


def test_a_chance_outside_zero_to_one_is_named() -> None:
    with pytest.raises(UserError, match=r"v is 1\.5"):
        trace_root_value(1.5, 3)
    with pytest.raises(UserError, match="r is nan"):
        trace_prefix_alloc([(float("nan"), 0.5)], 1)


def test_targets_of_a_tree() -> None:
    assert trace_tree_target([1, [0, 1, 1]], mean="leaves") == 0.75
    assert trace_tree_target(1) == trace_tree_target(1, mean="leaves") == 1.0
    for mean in ("children", "leaves"):
        with pytest.raises(UserError, match="without children"):
            trace_tree_target([1, []] if mean == "children" else [[]], mean=mean)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown tree target"):
        trace_tree_target(1, mean="leafs")  # type: ignore[arg-type]


def test_a_budget_stays_between_one_and_all() -> None:
    assert aepo_budget(16, 1e6, 0.0) == (16.0, 16)
    assert aepo_budget(16, -1e6, 0.0) == (0.0, 1)
