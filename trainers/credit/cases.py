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

from agentrl.trainers.credit import allocation, branching, gae
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


def seg_entropy(**given: Any) -> float:
    return branching.seg_entropy(**given, mode="sum_topk")


def paper_decide(**given: Any) -> tuple[float, bool]:
    return branching.paper_decide(consecutive=given.pop("l", 0), **given)


def branch_round(
    active: list[int],
    h_now: dict[str, float],
    h_init: dict[str, float],
    count: int,
    M: int,
    beam: int,
    us: list[float],
) -> dict[str, Any]:
    """``us``: the uniforms in the order of their use, for ARPO's rule at its defaults."""
    uniforms = iter(us)

    def decide(rollout: int, u: float) -> bool:
        return branching.arpo_decide(u, h_now[str(rollout)] - h_init[str(rollout)])

    sources = branching.branch_round(active, decide, lambda rollout, attempt: next(uniforms), count, M, beam)
    return {"sources": sources, "count": count + len(sources)}


def aepo_budget(**given: Any) -> dict[str, Any]:
    return dict(zip(("real", "code"), allocation.aepo_budget(**given), strict=True))


def trace_root_alloc(**given: Any) -> dict[str, Any]:
    return dict(zip(("alloc", "objective"), allocation.trace_root_alloc(**given), strict=True))


def trace_prefix_alloc(**given: Any) -> dict[str, Any]:
    return dict(zip(("k", "objective"), allocation.trace_prefix_alloc(**given), strict=True))


def gae_turn(turn_rewards: list[float], turn_values: list[float], **options: float) -> dict[str, Any]:
    return dict(zip(("adv", "returns"), gae.gae_turn(turn_rewards, turn_values, **options), strict=True))


def gae_token(mask: list[list[int]], **given: Any) -> dict[str, Any]:
    advantages, returns = gae.gae_token(mask=mask, **given)
    return {"adv_raw": advantages, "returns": returns, "adv_white": gae.whitened_tokens(advantages, mask)}


def _episode(mode: str, cross_steps: bool) -> dict[str, Any]:
    statistics = "rows" if cross_steps else "trajectories"
    return {"std": mode == "mean_std_norm", "statistics": statistics, "singleton": "raw", "zero_tol": 0.0}


def _numbered(labels: Sequence[int]) -> list[int]:
    """0, 1, ... in the order of first appearance."""
    seen: dict[int, int] = {}
    return [seen.setdefault(label, len(seen)) for label in labels]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def ppo_agg(loss: list[list[float]], mask: list[list[int]], mode: str) -> float:
    from agentrl.trainers.losses import cases

    return cases.ppo_agg(loss, mask, mode)


def aepo_tokens(**given: Any) -> dict[str, Any]:
    from agentrl.trainers.losses import cases

    return cases.aepo_tokens(**given)


OPS: dict[str, Callable[..., Any]] = {
    "grpo": grpo,
    "rows_group_norm": rows_group_norm,
    "gigpo": gigpo,
    "seg_entropy": seg_entropy,
    "arpo_decide": branching.arpo_decide,
    "arpo_prob": branching.arpo_prob,
    "arpo_reward": branching.arpo_reward,
    "aepo_decide": branching.aepo_decide,
    "paper_decide": paper_decide,
    "branch_round": branch_round,
    "aepo_budget": aepo_budget,
    "trace_root_value": allocation.trace_root_value,
    "trace_prefix_value": allocation.trace_prefix_value,
    "trace_root_alloc": trace_root_alloc,
    "trace_prefix_alloc": trace_prefix_alloc,
    "trace_tree_target": allocation.trace_tree_target,
    "gae_turn": gae_turn,
    "gae_token": gae_token,
    "ppo_agg": ppo_agg,
    "aepo_tokens": aepo_tokens,
}
