"""Prompts are cut into forwards so that padding and forwards together cost least."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.policies import padding
from agentrl.policies.padding import batches


def cost(widths: list[int], parts: list[slice], forward: int) -> int:
    return sum(forward + len(widths[part]) * max(widths[part]) for part in parts)


def ways(n: int) -> list[list[slice]]:
    inner = [cut for k in range(n) for cut in itertools.combinations(range(1, n), k)]
    return [[slice(a, b) for a, b in itertools.pairwise([0, *cut, n])] for cut in inner]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8).map(sorted), st.integers(0, 60))
def test_no_way_to_cut_costs_less(widths: list[int], forward: int) -> None:
    found = batches(widths, forward)
    assert [i for part in found for i in range(part.start, part.stop)] == list(range(len(widths)))
    assert cost(widths, found, forward) == min(cost(widths, way, forward) for way in ways(len(widths)))


@given(widths=st.lists(st.integers(1, 30), min_size=1, max_size=20).map(sorted))
def test_no_forward_is_larger_than_it_may_be_but_for_a_single_prompt(widths: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padding, "PREFILL_POSITIONS", 40)
        found = batches(widths, 1000)
    assert [i for part in found for i in range(part.start, part.stop)] == list(range(len(widths)))
    assert all(len(widths[part]) == 1 or len(widths[part]) * max(widths[part]) <= 40 for part in found)
