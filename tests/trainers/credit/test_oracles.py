"""Random groups against plain loops written from the formulas, not from the code."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.trainers.credit import TurnTable, assign, returns_to_go


class Episode(list[tuple[str, float, bool]]):
    """(state, reward, valid) a turn; the first ``shared`` are copies of those of ``parent``, an earlier one."""

    parent: int | None = None
    shared: int = 0


turns = st.tuples(st.sampled_from("abcd"), st.sampled_from([0.0, 0.0, 0.25, 1.0, -0.5]), st.booleans())
episodes = st.lists(turns, min_size=1, max_size=7)


@st.composite
def grown(draw: st.DrawFn) -> list[Episode]:
    """A group: some of its episodes are branches, of branches too."""
    group: list[Episode] = []
    for own in draw(st.lists(episodes, min_size=1, max_size=4)):
        episode = Episode(own)
        if group and draw(st.booleans()):
            episode.parent = draw(st.integers(0, len(group) - 1))
            episode.shared = draw(st.integers(0, len(group[episode.parent])))
            episode[:0] = group[episode.parent][: episode.shared]
        group.append(episode)
    return group


batches = st.lists(grown(), min_size=1, max_size=3)


def table_of(batch: list[list[Episode]]) -> TurnTable:
    flat = [(g, k, episode) for g, group in enumerate(batch) for k, episode in enumerate(group)]
    return TurnTable.from_arrays(
        ids=[f"{g}-{k}" for g, k, _ in flat],
        group=[str(g) for g, _, _ in flat],
        length=[len(e) for _, _, e in flat],
        reward=[r for _, _, e in flat for _, r, _ in e],
        valid=[v for _, _, e in flat for _, _, v in e],
        anchor=[s for _, _, e in flat for s, _, _ in e],
        observation=[s for _, _, e in flat for s, _, _ in e],
        parent=[None if e.parent is None else f"{g}-{e.parent}" for g, _, e in flat],
        branch_turn=[e.shared for _, _, e in flat],
    )


def scaled(x: float, sample: list[float], std: bool, lone: float) -> float:
    """One value against its sample: minus the mean, over the sample deviation."""
    if len(sample) == 1:
        return lone
    mean = math.fsum(sample) / len(sample)
    centred = 0.0 if abs(x - mean) < 1e-9 else x - mean
    deviation = math.sqrt(math.fsum((s - mean) ** 2 for s in sample) / (len(sample) - 1))
    return centred / (deviation + 1e-6) if std and deviation >= 1e-9 else centred


def grpo_loop(batch: list[list[Episode]], std: bool, rows: bool, raw: bool, coef: float) -> list[float]:
    out = []
    for group in batch:
        scores = [[sum(r for _, r, _ in e) - coef * (not valid) for _, _, valid in e] for e in group]
        sample = [s for episode in scores for s in (episode if rows else episode[:1])]
        for episode in scores:
            for s in episode:
                out.append(scaled(s, sample, std, lone=(s / (1 + 1e-6) if std else s) if raw else 0.0))
    return out


def gigpo_loop(batch: list[list[Episode]], gamma: float, std: bool, coef: float) -> list[float]:
    out = []
    for group in batch:
        visits: dict[str, list[float]] = {}
        returns = []
        for e in group:
            for t, (state, _, valid) in enumerate(e):
                value = sum(gamma ** (u - t) * e[u][1] for u in range(t, len(e))) - coef * (not valid)
                visits.setdefault(state, []).append(value)
                returns.append((state, value))
        out += [scaled(value, visits[state], std, lone=0.0) for state, value in returns]
    return out


@settings(max_examples=500, deadline=None)
@given(batches, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_grpo(batch: list[list[Episode]], std: bool, rows: bool, raw: bool, coef: float) -> None:
    options = {
        "std": std,
        "statistics": "rows" if rows else "trajectories",
        "singleton": "raw" if raw else "zero",
    }
    found = assign(table_of(batch), [{"invalid-penalty": {"coef": coef}}], [{"grpo": options}]).advantages
    np.testing.assert_allclose(found, grpo_loop(batch, std, rows, raw, coef), rtol=1e-8, atol=1e-8)


@settings(max_examples=500, deadline=None)
@given(batches, st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_gigpo_step(batch: list[list[Episode]], gamma: float, std: bool, coef: float) -> None:
    credit = [{"gigpo-step": {"gamma": gamma, "std": std}}]
    found = assign(table_of(batch), [{"invalid-penalty": {"coef": coef}}], credit).advantages
    np.testing.assert_allclose(found, gigpo_loop(batch, gamma, std, coef), rtol=1e-8, atol=1e-8)


@settings(max_examples=100, deadline=None)
@given(batches, st.booleans(), st.sampled_from([0.5, 0.95]))
def test_gigpo_is_grpo_and_its_step_part_to_the_bit(batch: list[list[Episode]], std: bool, gamma: float) -> None:
    table = table_of(batch)
    whole = assign(table, credit=[{"gigpo": {"std": std, "gamma": gamma}}])
    apart = [
        assign(table, credit=[part]) for part in ({"grpo": {"std": std}}, {"gigpo-step": {"std": std, "gamma": gamma}})
    ]
    assert (whole.advantages == apart[0].advantages + apart[1].advantages).all()
    assert (assign(table, credit="gigpo").advantages == assign(table, credit=["grpo", "gigpo-step"]).advantages).all()


@settings(max_examples=100, deadline=None)
@given(batches, st.sampled_from([0.3, 0.95]))
def test_a_penalty_before_discounting_reaches_earlier_turns(batch: list[list[Episode]], gamma: float) -> None:
    priced = [[Episode((s, r - 0.1 * (not v), True) for s, r, v in e) for e in group] for group in batch]
    options: list[Any] = ["grpo", {"gigpo-step": {"gamma": gamma}}]
    found = assign(table_of(batch), [{"invalid-penalty": {"when": "before"}}], options).advantages
    np.testing.assert_allclose(found, assign(table_of(priced), credit=options).advantages, atol=1e-8)


@settings(max_examples=100, deadline=None)
@given(batches, st.sampled_from([0.0, 0.9, 1.0]))
def test_returns_equal_the_plain_loop_to_the_bit(batch: list[list[Episode]], gamma: float) -> None:
    expected = []
    for episode in (e for group in batch for e in group):
        carry, backwards = 0.0, []
        for _, reward, _ in reversed(episode):
            carry = reward + gamma * carry
            backwards.append(carry)
        expected += backwards[::-1]
    assert returns_to_go(table_of(batch), gamma).tolist() == expected


@settings(max_examples=500, deadline=None)
@given(batches, st.booleans(), st.sampled_from([0.0, 0.1]))
def test_rloo(batch: list[list[Episode]], raw: bool, coef: float) -> None:
    expected = []
    for group in batch:
        scores = [[sum(r for _, r, _ in e) - coef * (not valid) for _, _, valid in e] for e in group]
        for i, own in enumerate(scores):
            others = [other[0] for j, other in enumerate(scores) if j != i]
            baseline = math.fsum(others) / max(len(others), 1)
            expected += [score - baseline if others or raw else 0.0 for score in own]
    credit = [{"rloo": {"singleton": "raw" if raw else "zero"}}]
    found = assign(table_of(batch), [{"invalid-penalty": {"coef": coef}}], credit).advantages
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def hgpo_loop(
    batch: list[list[Episode]], history: int, alpha: float, gamma: float, std: bool, base: bool
) -> list[float]:
    rows_of = grpo_loop(batch, std, rows=True, raw=False, coef=0.0)
    out: list[float] = []
    for group in batch:
        level: dict[tuple[str, ...], list[float]] = {}
        returns = []
        for e in group:
            for t in range(len(e)):
                value = sum(gamma ** (u - t) * e[u][1] for u in range(t, len(e)))
                keys = [tuple(s for s, _, _ in e[t - k + 1 : t + 1]) for k in range(1, min(history + 1, t + 1) + 1)]
                returns.append((keys, value))
                for key in keys:
                    level.setdefault(key, []).append(value)
        for keys, value in returns:
            items = [(0, rows_of[len(out)])] if base else []
            for key in keys:
                sample = level[key]
                mean = math.fsum(sample) / len(sample)
                spread = math.sqrt(math.fsum((s - mean) ** 2 for s in sample) / len(sample))
                if len(sample) > 1 and abs(value - mean) >= 1e-9:
                    items.append((len(key), (value - mean) / (spread + 1e-6) if std else value - mean))
            items = [(k, a) for k, a in items if a != 0]
            weight = sum((k + 1) ** alpha for k, _ in items)
            out.append(sum((k + 1) ** alpha * a for k, a in items) / (weight + 1e-6))
    return out


@settings(max_examples=500, deadline=None)
@given(
    batches,
    st.integers(0, 4),
    st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    st.sampled_from([0.5, 1.0]),
    st.booleans(),
    st.booleans(),
)
def test_hgpo(batch: list[list[Episode]], history: int, alpha: float, gamma: float, std: bool, base: bool) -> None:
    options = {"history": history, "alpha": alpha, "gamma": gamma, "std": std, "base_group": base}
    found = assign(table_of(batch), credit=[{"hgpo": options}]).advantages
    np.testing.assert_allclose(found, hgpo_loop(batch, history, alpha, gamma, std, base), rtol=1e-8, atol=1e-8)


Step = tuple[str, str, bool]  # (state, action, valid)
walks = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.booleans()), min_size=1, max_size=5)


@st.composite
def walked_together(draw: st.DrawFn) -> list[tuple[list[Step], float, bool]]:
    """A group of (walk, outcome, cut); some walks begin as an earlier one does, as branches do."""
    group: list[tuple[list[Step], float, bool]] = []
    for walk in draw(st.lists(walks, min_size=1, max_size=4)):
        if group and draw(st.booleans()):
            before = group[draw(st.integers(0, len(group) - 1))][0]
            walk = before[: draw(st.integers(0, len(before)))] + walk
        group.append((walk, draw(st.sampled_from([0.0, 1.0])), draw(st.booleans())))
    return group


walked = st.lists(walked_together(), min_size=1, max_size=3)


def salt_loop(batch: list[list[tuple[list[Step], float, bool]]], history: int, once: bool) -> list[float]:
    out = []
    for group in batch:
        outcomes = [outcome for _, outcome, _ in group]
        own = [scaled(x, outcomes, std=True, lone=0.0) for x in outcomes]
        paths = []
        for walk, outcome, cut in group:
            end = "won" if outcome > 0 else "cut" if cut else "lost"
            states = [s for s, _, _ in walk] + [end]
            paths.append([(states[t], walk[t][1], states[t + 1]) for t in range(len(walk))])
        made: dict[object, list[tuple[int, float]]] = {}
        keys = []
        for i, (walk, _, _) in enumerate(group):
            for t, (_, _, valid) in enumerate(walk):
                key = tuple(paths[i][max(0, t - history) : t + 1]) if valid and paths[i][t][2] != "cut" else None
                keys.append((i, key))
                if key is not None and not (once and any(j == i for j, _ in made.get(key, []))):
                    made.setdefault(key, []).append((i, own[i]))
        for i, key in keys:
            votes = [a for _, a in made[key]] if key is not None else [own[i]]
            out.append(math.fsum(votes) / len(votes))
    return out


@settings(max_examples=500, deadline=None)
@given(walked, st.integers(0, 3), st.booleans())
def test_salt(batch: list[list[tuple[list[Step], float, bool]]], history: int, once: bool) -> None:
    flat = [(g, k, *episode) for g, group in enumerate(batch) for k, episode in enumerate(group)]
    steps = [step for _, _, walk, _, _ in flat for step in walk]
    table = TurnTable.from_arrays(
        ids=[f"{g}-{k}" for g, k, *_ in flat],
        group=[str(g) for g, *_ in flat],
        length=[len(walk) for _, _, walk, _, _ in flat],
        outcome=[outcome for *_, outcome, _ in flat],
        ended=["truncated" if cut else "terminated" for *_, cut in flat],
        reward=[0.0] * len(steps),
        anchor=[s for s, _, _ in steps],
        action=[a for _, a, _ in steps],
        valid=[v for _, _, v in steps],
    )
    options: dict[str, Any] = {"history": history, "counting": "trajectory" if once else "occurrence"}
    found = assign(table, credit=[{"salt": options}]).advantages
    np.testing.assert_allclose(found, salt_loop(batch, history, once), rtol=1e-8, atol=1e-8)
