"""GraphGPO and GRAFT on graphs small enough to draw, and against plain loops."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign
from agentrl.trainers.credit.graph import Graph

Walk = tuple[str, bool, bool]  # (states, success, cut short)
walks = st.tuples(st.text("abcd", min_size=1, max_size=6), st.booleans(), st.booleans())
batches = st.lists(st.lists(walks, min_size=1, max_size=4), min_size=1, max_size=3)


def table_of(batch: list[list[Walk]]) -> TurnTable:
    flat = [(g, k, *walk) for g, group in enumerate(batch) for k, walk in enumerate(group)]
    return TurnTable.from_arrays(
        ids=[f"{g}-{k}" for g, k, *_ in flat],
        group=[str(g) for g, *_ in flat],
        length=[len(states) for _, _, states, _, _ in flat],
        reward=[float(won and i == len(states) - 1) for _, _, states, won, _ in flat for i in range(len(states))],
        ended=["truncated" if cut else "terminated" for *_, cut in flat],
        anchor=[s for _, _, states, _, _ in flat for s in states],
    )


def edges_of(group: list[Walk]) -> list[list[tuple[str, str]]]:
    ends = ["WON" if won else "CUT" if cut else "LOST" for _, won, cut in group]
    return [list(zip(states, [*states[1:], end], strict=True)) for (states, *_), end in zip(group, ends, strict=True)]


@settings(max_examples=500, deadline=None)
@given(batches, st.booleans(), st.sampled_from([0.5, 0.95]))
def test_graphgpo_step(batch: list[list[Walk]], relative: bool, gamma: float) -> None:
    expected = []
    for group in batch:
        edges = edges_of(group)
        far: dict[str, float] = defaultdict(lambda: math.inf, WON=0.0 if any(won for _, won, _ in group) else math.inf)
        for _ in range(40):
            for u, v in (edge for path in edges for edge in path):
                far[u] = min(far[u], far[v] + 1)
        beyond = max((d for d in far.values() if d < math.inf), default=0.0) + 1
        d = {node: far[node] if far[node] < math.inf else beyond for path in edges for edge in path for node in edge}
        quality = [[10 * gamma ** (d[v] - (d[u] - 1 if relative else 0)) for u, v in path] for path in edges]
        at = defaultdict(list)
        for path, values in zip(edges, quality, strict=True):
            for (u, v), q in zip(path, values, strict=True):
                at[u] += [q] if v != "CUT" else []
        expected += [
            q - math.fsum(at[u]) / len(at[u]) if v != "CUT" else 0.0
            for path, values in zip(edges, quality, strict=True)
            for (u, v), q in zip(path, values, strict=True)
        ]
    options = {"relative": relative, "gamma": gamma, "std": False}
    found = assign(table_of(batch), credit=[{"graphgpo-step": options}]).advantages
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


@settings(max_examples=500, deadline=None)
@given(batches, st.sampled_from([0.5, 0.9]))
def test_graft(batch: list[list[Walk]], gamma: float) -> None:
    """Values as the solution of the linear equations, not by iteration."""
    expected = []
    for group in batch:
        edges = edges_of(group)
        states = sorted({u for path in edges for u, _ in path})
        flow, gain = np.zeros((len(states), len(states))), np.zeros(len(states))
        count = np.zeros(len(states))
        for path, (_, won, _) in zip(edges, group, strict=True):
            for u, v in path:
                i = states.index(u)
                count[i] += 1
                if v in states:
                    flow[i, states.index(v)] += gamma
                else:
                    gain[i] += gamma * won
        value = np.linalg.solve(np.eye(len(states)) - flow / count[:, None], gain / count)
        for path, (_, won, _) in zip(edges, group, strict=True):
            for u, v in path:
                after = value[states.index(v)] if v in states else float(won)
                expected.append(gamma * after - value[states.index(u)])
    found = assign(table_of(batch), credit=[{"graft": {"gamma": gamma}}]).advantages
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_detour_costs_and_a_shortcut_pays() -> None:
    table = table_of([[("abc", True, False), ("ac", True, False), ("abd", False, False)]])
    found = assign(table, credit="graphgpo-step")
    assert found.of("0-1")[0] > 0 > found.of("0-0")[0]  # from a: straight to c, or by b
    assert found.of("0-0")[1] > 0 > found.of("0-2")[1]  # from b: to c, or to d, which leads nowhere
    gained = assign(table, credit="graft")
    assert gained.of("0-1")[0] > 0 > gained.of("0-2")[1]


def test_a_group_without_success_gives_nothing() -> None:
    table = table_of([[("ab", False, False), ("ac", False, True)]])
    assert not assign(table, credit=["graphgpo-step", "graft"]).advantages.any()


def test_groups_do_not_share_a_graph() -> None:
    graph = Graph.of(table_of([[("ab", True, False)], [("ab", False, False)]]))
    assert len(graph.group) == 6
    distance = graph.distance(graph.target[graph.last][:1])
    assert np.isinf(distance[graph.group == 1]).all()
    assert sorted(distance[graph.group == 0]) == [0, 1, 2]


def test_states_are_needed() -> None:
    table = TurnTable.from_arrays(ids=["a"], group=["g"], length=[1], reward=[1.0])
    with pytest.raises(UserError, match="graft needs a state key, and trajectory 'a', turn 0 has none"):
        assign(table, credit="graft")
