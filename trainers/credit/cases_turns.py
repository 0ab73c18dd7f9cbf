"""Ops of the case files whose methods tell turns and tokens apart: values, rounds, segments, early calls."""

from __future__ import annotations

from typing import Any

import numpy as np

from agentrl.trainers.credit.agentprm import targets
from agentrl.trainers.credit.arena import tournament
from agentrl.trainers.credit.assign import assign
from agentrl.trainers.credit.cases_tables import in_order
from agentrl.trainers.credit.gae import token_returns, turn_returns
from agentrl.trainers.credit.jsonl import table_of
from agentrl.trainers.credit.registry import bind
from agentrl.trainers.credit.table import Floats, TurnTable


def gae_turn(
    turn_rewards: list[float], turn_values: list[float], gamma: float = 1.0, lam: float = 1.0, bootstrap: float = 0.0
) -> dict[str, Any]:
    """``bootstrap``: the value after the last turn."""
    table = in_order(["g"], [len(turn_rewards)], turn_rewards, values=turn_values, last_value=[bootstrap])
    options: dict[str, Any] = {"gamma": gamma, "lam": lam, "bootstrap": True}
    adv = assign(table, credit={"gae": options}).advantages
    return {"adv": adv, "returns": turn_returns(table, **options)}


def gae_token(
    rewards: list[list[float]],
    values: list[list[float]],
    mask: list[list[int]],
    gamma: float = 1.0,
    lam: float = 1.0,
) -> dict[str, Any]:
    """Sampled tokens up to one with a reward, or to one that was not sampled, are a turn."""
    sampled = np.array(mask, bool)
    turns: list[list[tuple[float, list[float]]]] = []  # of each row: (reward, values of the tokens)
    for reward, value, on in zip(rewards, values, sampled, strict=True):
        turns.append([])
        parts: list[float] = []
        for t, r in enumerate(reward):
            parts += [value[t]] if on[t] else []
            if parts and (r or t + 1 == len(reward) or not on[t + 1]):
                turns[-1].append((r, parts))
                parts = []
    flat = [turn for row in turns for turn in row]
    table = in_order(
        ["g"] * len(turns),
        [len(row) for row in turns],
        [r for r, _ in flat],
        tokens=[len(parts) for _, parts in flat],
        token_values=[parts for _, parts in flat],
    )
    options: dict[str, Any] = {"gamma": gamma, "lam": lam, "bootstrap": True}

    def back(found: Floats) -> Floats:
        out = np.zeros(sampled.shape)
        out[sampled] = found
        return out

    raw = assign(table, credit={"gae-token": options}).token_advantages
    white = assign(table, credit=[{"gae-token": options}, "whiten"]).token_advantages
    assert raw is not None
    assert white is not None
    return {"adv_raw": back(raw), "returns": back(token_returns(table, **options)), "adv_white": back(white)}


def mc_value(rewards: list[list[float]], values: list[list[float]], gamma: float = 1.0) -> list[list[float]]:
    """``values``: means of continuations before each turn."""
    flat = [value for row in values for value in row]
    table = in_order(["g"] * len(rewards), [len(row) for row in rewards], np.concatenate(rewards), mc_values=flat)
    return _by_trajectory(table, assign(table, credit={"mc-value": {"gamma": gamma}}).advantages)


def iterresearch(outcomes: list[float], rounds: list[int], **options: Any) -> list[list[float]]:
    table = in_order(["g"] * len(rounds), rounds, [0.0] * sum(rounds), outcome=outcomes)
    return _by_trajectory(table, assign(table, credit={"iterresearch": options}).advantages)


def memact(outcomes: list[float], segments: list[list[int]], **options: Any) -> list[list[float]]:
    """``segments``: of each trajectory, the turns of each of its segments."""
    starts = [i == 0 for parts in segments for n in parts for i in range(n)]
    table = in_order(
        ["g"] * len(segments), [sum(n) for n in segments], [0.0] * len(starts), outcome=outcomes, starts_segment=starts
    )
    return _by_trajectory(table, assign(table, credit={"memact": options}).advantages)


def aspo(
    tokens: list[list[int]], calls: list[list[int]], correct: list[bool], adv: list[float], **options: Any
) -> list[list[float]]:
    """``adv``: of each trajectory; the others' are of each turn."""
    turns = [n for row in tokens for n in row]
    table = in_order(
        ["g"] * len(tokens),
        [len(row) for row in tokens],
        [0.0] * len(turns),
        success=correct,
        tokens=turns,
        tool_calls=[n for row in calls for n in row],
    )
    method = bind({"aspo": options}, ["modulator"])[0]
    changed, _ = method(table, np.array(adv, np.float64)[table.trajectory], None)
    return _by_trajectory(table, changed)


def arena_tournament(points: list[list[float]]) -> list[float]:
    """``points[i][j]``: what i gets against j."""
    return tournament(len(points), lambda pairs: [(points[i][j], points[j][i]) for i, j in pairs])


def agentprm_targets(trajectories: list[dict[str, Any]], gamma: float = 1.0) -> list[list[float]]:
    table = table_of(trajectories)
    return _by_trajectory(table, targets(table, gamma))


def _by_trajectory(table: TurnTable, values: Floats) -> list[list[float]]:
    return [part.tolist() for part in np.split(values, table.start[1:])]
