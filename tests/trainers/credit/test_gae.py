"""GAE: against its plain sum, the token form against the turn form, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign, plan
from agentrl.trainers.credit.gae import token_returns, turn_returns

numbers = st.floats(-2, 2)
turns = st.lists(st.tuples(numbers, st.lists(numbers, min_size=1, max_size=3)), min_size=1, max_size=6)
episodes = st.lists(st.tuples(turns, numbers), min_size=1, max_size=5)
shares = st.floats(0, 1)

Episode = tuple[list[tuple[float, list[float]]], float]  # turns (reward, values of the tokens), the value afterwards


def table_of(played: list[Episode], **columns: object) -> TurnTable:
    flat = [turn for episode, _ in played for turn in episode]
    return TurnTable.from_arrays(
        ids=[f"{k}" for k in range(len(played))],
        group=["g"] * len(played),
        length=[len(episode) for episode, _ in played],
        reward=[r for r, _ in flat],
        values=[values[0] for _, values in flat],
        tokens=[len(values) for _, values in flat],
        token_values=[values for _, values in flat],
        last_value=[last for _, last in played],
        **columns,
    )


def plainly(rewards: list[float], values: list[float], last: float, gamma: float, lam: float) -> list[float]:
    """The definition: discounted sums of errors."""
    after = [*values[1:], last]
    errors = [r + gamma * nxt - v for r, v, nxt in zip(rewards, values, after, strict=True)]
    return [sum((gamma * lam) ** k * e for k, e in enumerate(errors[t:])) for t in range(len(errors))]


@given(episodes, shares, shares)
def test_turns_against_the_sum_of_discounted_errors(played: list[Episode], gamma: float, lam: float) -> None:
    table = table_of(played)
    credit = assign(table, credit={"gae": {"gamma": gamma, "lam": lam}})
    for k, (episode, last) in enumerate(played):
        expected = plainly([r for r, _ in episode], [v[0] for _, v in episode], last, gamma, lam)
        np.testing.assert_allclose(credit.of(f"{k}"), expected, atol=1e-9)
    returns = turn_returns(table, gamma=gamma, lam=lam, bootstrap=True)
    np.testing.assert_allclose(returns, credit.advantages + table.values, atol=1e-12)


@given(episodes, shares, shares)
def test_tokens_against_the_same_sum_over_all_tokens(played: list[Episode], gamma: float, lam: float) -> None:
    """Reward with the last token of a turn; what lies between turns is no step."""
    table = table_of(played)
    credit = assign(table, credit={"gae-token": {"gamma": gamma, "lam": lam}})
    for k, (episode, last) in enumerate(played):
        rewards = [r if i + 1 == len(v) else 0.0 for r, v in episode for i in range(len(v))]
        expected = plainly(rewards, [x for _, v in episode for x in v], last, gamma, lam)
        found = credit.tokens_of(f"{k}")
        assert [len(part) for part in found] == [len(v) for _, v in episode]
        np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-9)
        np.testing.assert_allclose(credit.of(f"{k}"), [part.mean() for part in found], atol=1e-12)
    returns = token_returns(table, gamma=gamma, lam=lam, bootstrap=True)
    np.testing.assert_allclose(returns, credit.token_advantages + table.token_values, atol=1e-12)


@given(turns, shares, shares)
def test_turns_of_one_token_are_tokens(episode: list[tuple[float, list[float]]], gamma: float, lam: float) -> None:
    table = table_of([([(r, v[:1]) for r, v in episode], 0.5)])
    options = {"gamma": gamma, "lam": lam}
    np.testing.assert_array_equal(
        assign(table, credit={"gae": options}).advantages,
        assign(table, credit={"gae-token": options}).token_advantages,
    )


def cut(**columns: object) -> TurnTable:
    return TurnTable.from_arrays(
        ids=["a", "b"],
        group=["g", "g"],
        length=[1, 1],
        reward=[0.0, 0.0],
        values=[0.0, 0.0],
        ended=["terminated", "max_turns"],
        **columns,
    )


def test_an_episode_that_was_cut_short_is_not_one_that_ended() -> None:
    known = cut(last_value=[0.0, 1.0])
    assert assign(known, credit="gae").advantages.tolist() == [0.0, 1.0]
    assert assign(known, credit={"gae": {"bootstrap": False}}).advantages.tolist() == [0.0, 0.0]
    assert assign(cut(), credit={"gae": {"bootstrap": False}}).advantages.tolist() == [0.0, 0.0]
    with pytest.raises(UserError, match=r"gae needs the value after .* \(bootstrap=false .*\), and trajectory 'b'"):
        assign(cut(), credit="gae")


def test_what_is_missing_is_named() -> None:
    bare = TurnTable.from_arrays(ids=["a"], group=["g"], length=[2], reward=[0.0, 1.0], tokens=[1, 2])
    with pytest.raises(UserError, match="gae needs the values of a critic, and trajectory 'a', turn 0 has none"):
        assign(bare, credit="gae")
    with pytest.raises(UserError, match=r"gae-token needs a critic's value of each sampled token, .* turn 0 has none"):
        assign(bare, credit="gae-token")
    half = table_of([([(0.0, [0.1, 0.2]), (1.0, [0.1, float("nan")])], 0.0)])
    with pytest.raises(UserError, match="each sampled token, and trajectory '0', turn 1 has none"):
        assign(half, credit="gae-token")
    silent = TurnTable.from_arrays(
        ids=["a"], group=["g"], length=[2], reward=[0.0, 1.0], tokens=[2, 0], token_values=[[0.0, 0.0], []]
    )
    with pytest.raises(UserError, match="each sampled token, and trajectory 'a', turn 1 has none"):
        assign(silent, credit="gae-token")


def test_credit_by_token_adds_up_with_credit_by_turn() -> None:
    table = table_of([([(0.0, [0.1, 0.2]), (1.0, [0.5])], 0.0), ([(0.0, [0.3])], 0.0)])
    both = assign(table, credit=["gae-token", {"grpo": {"std": False}}])
    tokens = assign(table, credit="gae-token").token_advantages
    turns = assign(table, credit={"grpo": {"std": False}}).advantages
    np.testing.assert_array_equal(both.token_advantages, tokens + turns[table.token_turn])
    np.testing.assert_allclose(sum(both.parts.values()), both.advantages, atol=1e-12)


def test_whiten_and_clip_by_token_and_what_only_knows_turns() -> None:
    table = table_of([([(0.0, [0.1, 0.2]), (1.0, [0.5])], 0.0), ([(0.0, [0.3])], 0.0)])
    raw = assign(table, credit="gae-token").token_advantages
    white = assign(table, credit=["gae-token", "whiten"]).token_advantages
    np.testing.assert_allclose(white, (raw - raw.mean()) / np.sqrt(raw.var(ddof=1) + 1e-8))
    by_turn = assign(table, credit=["gae-token", {"whiten": {"per": "turn"}}]).token_advantages
    weight = np.array([0.5, 0.5, 1, 1])
    np.testing.assert_allclose(by_turn @ weight, 0.0, atol=1e-12)
    clipped = assign(table, credit=["gae-token", {"clip": {"limit": 0.4}}]).token_advantages
    np.testing.assert_array_equal(clipped, np.clip(raw, -0.4, 0.4))
    with pytest.raises(UserError, match="empg changes the advantages of turns, and gae-token gives them to tokens"):
        plan(credit=["grpo", "gae-token", "empg"])
