"""MC-GRPO, GDPO, Step-GRPO and EMPG: numbers worked out by hand, and plain loops."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign

outcomes = st.lists(
    st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0]), min_size=1, max_size=7), min_size=1, max_size=4
)


def of_outcomes(groups: list[list[float]]) -> TurnTable:
    flat = [(g, k, r) for g, group in enumerate(groups) for k, r in enumerate(group)]
    return TurnTable.from_arrays(
        ids=[f"{g}-{k}" for g, k, _ in flat],
        group=[str(g) for g, *_ in flat],
        length=[1] * len(flat),
        reward=[r for *_, r in flat],
    )


@settings(max_examples=500, deadline=None)
@given(outcomes)
def test_mc_grpo_as_published(groups: list[list[float]]) -> None:
    expected = []
    for group in groups:
        b = statistics.median(group)
        spread = statistics.median(abs(r - b) for r in group) + 1e-3
        differ = sum(r != b for r in group)
        expected += [(r - b) / spread * len(group) / max(differ, 1) for r in group]
    found = assign(of_outcomes(groups), credit=[{"mc-grpo": {"limit": None}}]).advantages
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_mc_grpo_by_hand() -> None:
    table = of_outcomes([[0.0, 0.5, 1.0], [0.0, 0.0, 1.0], [1.0]])
    np.testing.assert_allclose(
        assign(table, credit="mc-grpo").advantages, [-0.5 / 0.501 * 1.5, 0.0, 0.5 / 0.501 * 1.5, 0.0, 0.0, 5.0, 0.0]
    )


def of_vectors(rewards: dict[str, list[float]]) -> TurnTable:
    return TurnTable.from_arrays(
        ids=["a", "b", "c", "d"],
        group=["g", "g", "h", "h"],
        length=[1] * 4,
        reward=[0.0] * 4,
        tokens=[1, 1, 2, 4],
        rewards=rewards,
    )


def test_gdpo_by_hand() -> None:
    """Two of a group differ by +-1/sqrt(2) on every name, however far apart they are."""
    table = of_vectors({"answer": [1.0, 0.0, 0.0, 0.0], "format": [0.0, 100.0, 3.0, 1.0]})
    found = assign(table, credit=[{"gdpo": {"weights": {"answer": 3.0, "format": 1.0}}}]).advantages
    raw = np.array([2.0, -2.0, 1.0, -1.0]) / math.sqrt(2)
    np.testing.assert_allclose(found, raw / raw.std(ddof=1), atol=1e-5)
    by_token = assign(table, credit=[{"gdpo": {"per": "token"}}]).advantages
    assert np.repeat(by_token, table.tokens).mean() == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.floats(0.5, 50.0), st.floats(-10.0, 10.0))
def test_gdpo_does_not_depend_on_the_scale_of_a_reward(times: float, plus: float) -> None:
    one = {"answer": [1.0, 0.0, 1.0, 0.5], "format": [0.0, 1.0, 1.0, 0.0]}
    other = one | {"format": [times * r + plus for r in one["format"]]}
    found = [assign(of_vectors(rewards), credit="gdpo").advantages for rewards in (one, other)]
    np.testing.assert_allclose(*found, atol=1e-4)


def test_gdpo_says_what_is_missing() -> None:
    with pytest.raises(UserError, match="gdpo needs rewards by name, and the table has none"):
        assign(of_outcomes([[0.0, 1.0]]), credit="gdpo")
    late = assign(
        of_vectors({"format": [0.0, 1.0, 0.0, 0.0]}), credit=[{"gdpo": {"weights": {"format": 1, "late": 2}}}]
    )
    np.testing.assert_array_equal(late.advantages, assign(late.table, credit="gdpo").advantages)
    assert late.diagnostics["earned_late"] == 0.0
    assert late.diagnostics["earned_format"] == 0.25


def test_step_grpo_compares_equal_turns() -> None:
    table = TurnTable.from_arrays(ids=["a", "b", "c"], group=["g"] * 3, length=[3, 2, 2], reward=[1, 0, 5, 0, 0, 0, 3])
    found = assign(table, credit=[{"step-grpo": {"std": False}}]).advantages
    np.testing.assert_allclose(found, [2 / 3, -1, 0, -1 / 3, -1, -1 / 3, 2])
    spread = assign(table, credit="step-grpo").advantages
    np.testing.assert_allclose(spread[[1, 4, 6]], np.array([-1, -1, 2]) / math.sqrt(3), atol=1e-5)


def entropies(values: list[float]) -> TurnTable:
    return TurnTable.from_arrays(
        ids=["a", "b"], group=["g", "g"], length=[2, 1], reward=[0, 1, 0], entropy=values, tokens=[1, 2, 3]
    )


def test_empg_by_hand() -> None:
    table = entropies([0.0, 2.0, 1.0])
    own = assign(table, credit="rloo").advantages
    sure = np.exp([0.0, -1.0, -0.5])
    expected = own * sure / sure.mean() + [0.1 * math.exp(-1.0), 0.0, 0.0]
    kept = assign(table, credit=["rloo", {"empg": {"centre": "none"}}]).advantages
    np.testing.assert_allclose(kept, expected, atol=1e-6)
    found = assign(table, credit=["rloo", "empg"]).advantages
    np.testing.assert_allclose(found, expected - expected.mean(), atol=1e-6)
    by_token = assign(table, credit=["rloo", {"empg": {"centre": "token"}}]).advantages
    assert np.repeat(by_token, table.tokens).mean() == pytest.approx(0.0, abs=1e-12)


def test_empg_with_equal_entropies_adds_only_the_bonus() -> None:
    table = entropies([0.7, 0.7, 0.7])
    found = assign(table, credit=["rloo", {"empg": {"centre": "none"}}]).advantages
    np.testing.assert_allclose(found, np.add(assign(table, credit="rloo").advantages, [0.1, 0.0, 0.0]), atol=1e-6)


def test_empg_needs_entropies() -> None:
    with pytest.raises(UserError, match="empg needs the entropies of sampled tokens, and trajectory '0-0', turn 0"):
        assign(of_outcomes([[0.0, 1.0]]), credit=["grpo", "empg"])
