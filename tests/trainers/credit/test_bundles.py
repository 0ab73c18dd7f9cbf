"""RiskPO and PRIME against plain loops written from their formulas."""

from __future__ import annotations

import math
import statistics

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.trainers.credit import TurnTable, assign

groups = st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0]), min_size=1, max_size=4), min_size=1, max_size=7)


def deviation(values: list[float]) -> float:
    found = statistics.stdev(values) if len(values) > 1 else 0.0
    return 1.0 if found < 1e-3 else found + 1e-6


@settings(max_examples=500, deadline=None)
@given(st.lists(groups, min_size=1, max_size=3), st.integers(1, 3), st.sampled_from([0.0, 1.5]))
def test_riskpo(stream: list[list[list[float]]], size: int, weight: float) -> None:
    low, high, rate = 0.2, 0.8, 0.1
    state, tracked = None, None
    for outcomes in stream:
        names = [(f"t{g}", f"{g:02d}-{i}") for g, group in enumerate(outcomes) for i in range(len(group))]
        table = TurnTable.from_arrays(
            ids=[id for _, id in names],
            group=[group for group, _ in names],
            length=[1] * len(names),
            reward=[outcome for group in outcomes for outcome in group],
        )
        sheets: list[list[float]] = []
        for at in range(0, len(outcomes), size):
            bundle = outcomes[at : at + size]
            width = min(map(len, bundle))
            sheets.append([size * sum(group[j] for group in bundle) / len(bundle) for j in range(width)])
        totals = [s for bundle in sheets for s in bundle]
        q_low, q_high = tracked or np.quantile(totals, [low, high]).tolist()
        expected = []
        for g, group in enumerate(outcomes):
            for j in range(len(group)):
                bundle = sheets[g // size]
                if j >= len(bundle):
                    expected.append(0.0)
                    continue
                s = bundle[j]
                rvar = (max(s - q_low, 0) - max(s - q_high, 0) + q_low - q_high) / (high - low)
                cvar = -max(q_low - s, 0) / low
                expected.append((weight * cvar + rvar) / (weight + 1) / deviation(bundle) / deviation(group))
        moved = [
            q + rate * (level - sum(s < q for s in totals) / len(totals)) for q, level in ((q_low, low), (q_high, high))
        ]
        tracked = [moved[0], max(moved)]
        credit = assign(table, credit={"riskpo": {"bundle": size, "weight_low": weight}}, state=state)
        state = credit.state
        np.testing.assert_allclose(credit.advantages, expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(state["riskpo"], tracked, rtol=1e-9)


tokens = st.lists(st.floats(-1, 1), min_size=1, max_size=3)
played = st.tuples(st.sampled_from("gh"), st.sampled_from([0.0, 1.0]), st.lists(tokens, min_size=1, max_size=3))


@settings(max_examples=500, deadline=None)
@given(st.lists(played, min_size=1, max_size=6), st.booleans())
def test_prime(given_: list[tuple[str, float, list[list[float]]]], norm: bool) -> None:
    episodes = sorted(given_, key=lambda episode: episode[0])
    q = [[x for turn in turns for x in turn] for _, _, turns in episodes]
    if norm:
        largest = max(abs(math.fsum(row[t:])) for row in q for t in range(len(row)))
        q = [[x / largest if largest > 1e-9 else 0.0 for x in row] for row in q]
    expected: list[float] = []
    for i, (group, outcome, _) in enumerate(episodes):
        others = [j for j, episode in enumerate(episodes) if episode[0] == group and j != i]
        if not others:
            expected += [0.0] * len(q[i])
            continue
        base = statistics.fmean(statistics.fmean(q[j]) for j in others)
        own = outcome - statistics.fmean(episodes[j][1] for j in others)
        expected += [own + 5 * math.fsum(x - base for x in q[i][t:]) for t in range(len(q[i]))]
    table = TurnTable.from_arrays(
        ids=[f"{i:02d}" for i in range(len(episodes))],
        group=[group for group, _, _ in episodes],
        length=[len(turns) for _, _, turns in episodes],
        reward=[outcome * (t == len(turns) - 1) for _, outcome, turns in episodes for t in range(len(turns))],
        tokens=[len(turn) for _, _, turns in episodes for turn in turns],
        token_rewards=[turn for _, _, turns in episodes for turn in turns],
    )
    found = assign(table, credit={"prime": {"norm": norm, "whiten": False}}).token_advantages
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
