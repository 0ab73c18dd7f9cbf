"""Ops of the case files: a case's input put into a turn table, through training's functions, and read out again.

Settings are those of the published code, which the cases were taken from, and not our defaults. An op whose method
needs torch imports it when it is called.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.trainers.credit.assign import assign
from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.normalise import returns_to_go
from agentrl.trainers.credit.table import Floats, Ints, TurnTable

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """The table of a case's rows; ``order`` [N]: the row of the case that each row of the table came from."""

    table: TurnTable
    order: Ints

    def back(self, values: Floats | Ints) -> list[Any]:
        """Values of the table's rows, in the order of the case's."""
        out = np.empty_like(values)
        out[self.order] = values
        return list(out.tolist())


def of_rows(rows: Sequence[Row]) -> Case:
    """``rows``: {group, traj, reward, [obs], [valid]}, a turn each; a trajectory's in time order, else as they come."""
    at: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        at.setdefault((str(row["group"]), str(row["traj"])), []).append(i)
    groups = {group: k for k, (group, _) in enumerate(dict.fromkeys((g, "") for g, _ in at))}
    order = [i for _, turns in sorted(at.items(), key=lambda item: groups[item[0][0]]) for i in turns]
    names = sorted(at, key=lambda name: groups[name[0]])
    turns = [rows[i] for i in order]
    seen = [_text(row.get("obs", "")) for row in turns]
    table = TurnTable.from_arrays(
        ids=[f"{k:06d}" for k in range(len(names))],  # names that sort as the groups and trajectories came
        group=[f"{groups[group]:06d}" for group, _ in names],
        length=[len(at[name]) for name in names],
        reward=[row["reward"] for row in turns],
        valid=[row.get("valid", True) for row in turns],
        anchor=seen,
        observation=seen,
    )
    return Case(table, np.array(order, np.int64))


def of_outcomes(rewards: Sequence[float], groups: Sequence[str]) -> Case:
    """A trajectory of one turn for each reward."""
    pairs = enumerate(zip(groups, rewards, strict=True))
    return of_rows([{"group": g, "traj": i, "reward": r} for i, (g, r) in pairs])


def grpo(rewards: list[float], groups: list[str], **options: Any) -> list[float]:
    case = of_outcomes(rewards, groups)
    return case.back(assign(case.table, credit={"grpo": {"singleton": "raw", "zero_tol": 0.0, **options}}).advantages)


def rows_group_norm(
    scores: list[float], groups: list[str], trajs: list[str], mode: str, cross_steps: bool
) -> list[float]:
    """A row's score is its trajectory's whole outcome, which our table gets from the rewards: all of it at once."""
    first = [name not in trajs[:i] for i, name in enumerate(trajs)]
    rows = [
        {"group": g, "traj": t, "reward": s if new else 0.0}
        for g, t, s, new in zip(groups, trajs, scores, first, strict=True)
    ]
    case = of_rows(rows)
    return case.back(assign(case.table, credit={"grpo": _episode(mode, cross_steps)}).advantages)


def gigpo(
    rows: list[Row],
    gamma: float = 0.95,
    omega: float = 1.0,
    mode: str = "mean_norm",
    cross_steps: bool = True,
    invalid_coef: float = 0.0,
    normalize_by_length: bool = False,
    similarity: bool = False,
    thresh: float = 0.95,
) -> dict[str, Any]:
    case = of_rows(rows)
    alike = thresh if similarity else None
    episode = _episode(mode, cross_steps) | {"normalize_by_length": normalize_by_length}
    step = {"std": mode == "mean_std_norm", "gamma": gamma, "similarity": alike, "zero_tol": 0.0}
    credit = assign(
        case.table,
        rewards={"invalid-penalty": {"coef": invalid_coef}},
        credit=[{"grpo": episode}, {"gigpo-step": step | {"weight": omega}}],
    )
    step_only = assign(credit.table, credit={"gigpo-step": step}).advantages
    return {
        "step_returns": case.back(returns_to_go(credit.table, gamma) - credit.table.penalty),
        "step_groups": _numbered(case.back(anchor_groups(credit.table, alike))),
        "episode_adv": case.back(credit.parts["grpo"]),
        "step_adv": case.back(step_only),
        "adv": case.back(credit.advantages),
    }


def _episode(mode: str, cross_steps: bool) -> dict[str, Any]:
    statistics = "rows" if cross_steps else "trajectories"
    return {"std": mode == "mean_std_norm", "statistics": statistics, "singleton": "raw", "zero_tol": 0.0}


def _numbered(labels: Sequence[int]) -> list[int]:
    """0, 1, ... in the order of first appearance."""
    seen: dict[int, int] = {}
    return [seen.setdefault(label, len(seen)) for label in labels]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


OPS: dict[str, Callable[..., Any]] = {
    "grpo": grpo,
    "rows_group_norm": rows_group_norm,
    "gigpo": gigpo,
}
