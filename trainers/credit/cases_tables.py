"""Ops of the case files that are estimators and transforms: rows into a turn table, and answers out of it.

Settings are those of the published code, which the cases were taken from, and not our defaults.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.trainers.credit.assign import assign
from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.hgpo import levels
from agentrl.trainers.credit.jsonl import table_of
from agentrl.trainers.credit.normalise import returns_to_go
from agentrl.trainers.credit.otc import coefficient
from agentrl.trainers.credit.salt import merged, steps
from agentrl.trainers.credit.table import Floats, Ints, TurnTable
from agentrl.trainers.credit.treepo import depths

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
        tokens=[row.get("tokens", 0) for row in turns],
    )
    return Case(table, np.array(order, np.int64))


def of_outcomes(rewards: Sequence[float], groups: Sequence[str], tokens: Sequence[int] | None = None) -> Case:
    """A trajectory of one turn for each reward."""
    columns = enumerate(zip(groups, rewards, tokens or [0] * len(rewards), strict=True))
    return of_rows([{"group": g, "traj": i, "reward": r, "tokens": n} for i, (g, r, n) in columns])


def assign_lines(
    trajectories: list[dict[str, Any]],
    rewards: list[Any] | None = None,
    credit: list[Any] | None = None,
    state: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Any methods on trajectories written as JSON lines are: numbers a turn, a list each, in the order given."""
    table = table_of(trajectories)
    given = assign(table, rewards or [], credit or ["grpo"], state)
    rows = [table.rows(line["id"]) for line in trajectories]
    return {
        "advantages": [given.advantages[at].tolist() for at in rows],
        "token_advantages": [[part.tolist() for part in given.tokens_of(line["id"])] for line in trajectories],
        "reward": [given.table.reward[at].tolist() for at in rows],
        "outcome": [float(given.table.outcome[given.table.trajectory[at.start]]) for at in rows],
        "parts": {name: [part[at].tolist() for at in rows] for name, part in given.parts.items()},
        "state": given.state,
    }


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


def rloo(rewards: list[float], groups: list[str]) -> list[float]:
    case = of_outcomes(rewards, groups)
    return case.back(assign(case.table, credit={"rloo": {"singleton": "raw", "zero_tol": 0.0}}).advantages)


def reinforce_pp(token_rewards: list[list[float]], mask: list[list[int]], gamma: float) -> dict[str, Any]:
    """A step is a token here, and one that was not sampled weighs nothing."""
    rewards, sampled = np.array(token_rewards, np.float64), np.array(mask)
    table = in_order(["g"] * len(rewards), [rewards.shape[1]] * len(rewards), rewards.ravel(), tokens=sampled.ravel())
    advantages = assign(table, credit={"reinforce-pp": {"gamma": gamma}}).advantages.reshape(rewards.shape)
    return {"returns": returns_to_go(table, gamma).reshape(rewards.shape), "adv": advantages * sampled}


def reinforce_pp_baseline(rewards: list[float], groups: list[str], lengths: list[int]) -> dict[str, Any]:
    case = of_outcomes(rewards, groups, lengths)
    options = {"singleton": "raw", "zero_tol": 0.0}
    return {
        "centered": case.back(assign(case.table, credit={"grpo": {"std": False, **options}}).advantages),
        "adv": case.back(assign(case.table, credit={"reinforce-pp-baseline": options}).advantages),
    }


def hgpo(
    rows: list[Row],
    K: int = 2,
    gamma: float = 0.95,
    alpha: float = 1.0,
    mode: str = "mean_std_norm",
    base_group: bool = False,
) -> dict[str, Any]:
    """``level_adv``: of each row the pairs (level, advantage), at the levels where it is not alone."""
    case = of_rows(rows)
    returns = returns_to_go(case.table, gamma)
    options: dict[str, Any] = {
        "std": mode == "mean_std_norm",
        "base_group": base_group,
        "history": K,
        "singleton": "raw",
    }
    items: list[list[tuple[int, float]]] = [[] for _ in rows]
    for k, at, values in levels(case.table, returns, **options):
        for row, value in zip(case.order[at], values, strict=True):
            items[row].append((k, float(value)))
    credit = assign(case.table, credit={"hgpo": {"gamma": gamma, "alpha": alpha, **options}})
    return {"step_returns": case.back(returns), "level_adv": items, "adv": case.back(credit.advantages)}


def salt(trajectories: list[dict[str, Any]], base: str, history: int = 0, count: str = "occurrence") -> dict[str, Any]:
    """``base="given"``: each trajectory brings its own ``adv``."""
    groups = [t["group"] for t in trajectories]
    flat = [step for t in trajectories for step in t["steps"]]
    table = in_order(
        groups,
        [len(t["steps"]) for t in trajectories],
        [0.0] * len(flat),
        outcome=[t["reward"] for t in trajectories],
        valid=[step.get("mergeable", True) for step in flat],
        anchor=[step["s"] for step in flat],
        action=[step["a"] for step in flat],
        next_anchor=[step["s2"] for step in flat],
    )
    step, known = steps(table, history)
    votes = known & table.valid
    if base == "given":
        own = np.array([t["adv"] for t in trajectories], np.float64)
        advantages = merged(own[table.trajectory], step, votes, table.trajectory, "occurrence")
    else:
        estimator: dict[str, dict[str, Any]] = {"rloo": {"rloo": {}}, "dr_grpo": {"grpo": {"std": False}}}
        own = assign(table, credit=estimator.get(base, {base: {}})).advantages[table.start]
        options = {"base": base.replace("_", "-"), "history": history, "counting": count}
        advantages = assign(table, credit={"salt": options}).advantages
    makers = [len(set(table.trajectory[votes & (step == s)])) for s in np.unique(step[votes])]
    return {
        "traj_adv": own,
        "adv": [part.tolist() for part in np.split(advantages, table.start[1:])],
        "num_merged_edges": sum(n > 1 for n in makers),
    }


def otc_coef(m: int, n: int | None, c: float) -> float:
    """``n``: None for the rule without groups."""
    return float(coefficient(np.array([float(m)]), np.array([-1.0 if n is None else float(n)]), c)[0])


def otc_group(
    calls: list[int],
    correct: list[bool],
    alpha: float = 1.0,
    base: list[float] | None = None,
    n_prev: int | None = None,
) -> dict[str, Any]:
    """``n_prev``: the fewest calls of a success in earlier batches."""
    scores = np.array([1.0] * len(calls) if base is None else base) * correct
    table = in_order(["g"] * len(calls), [1] * len(calls), scores, success=correct, tool_calls=calls)
    credit = assign(
        table, rewards={"otc": {"alpha": alpha}}, state={"otc": {"g": n_prev}} if n_prev is not None else {}
    )
    n = credit.state["otc"].get("g")
    known = np.full(len(calls), -1.0 if n is None else float(n))
    coef = coefficient(np.array(calls, np.float64), known, 1.0)
    return {"n": n, "coef": coef, "reward": credit.table.outcome}


def treepo(
    paths: list[list[str]],
    rewards: list[float],
    strategy: str = "average",
    lengths: list[int] | None = None,
    drop_zero_std: bool = False,
) -> dict[str, Any]:
    """A node is a turn, but for the root, which is the prompt; ``lengths``: sampled tokens of each path."""
    turns = [path[1:] for path in paths]
    weights = lengths or [1] * len(paths)
    tokens = [n if turn == 0 else 0 for path, n in zip(turns, weights, strict=True) for turn in range(len(path))]
    table = _of_paths(turns, rewards, tokens=tokens)
    options: dict[str, Any] = {"strategy": strategy, "drop_zero_std": drop_zero_std, "singleton": "raw"}
    parts: list[list[float]] = [[] for _ in paths]
    for at, values, weight in depths(table, **options):
        for i, value, counted in zip(at, values, weight, strict=True):
            parts[i] += [value] if counted else []
    raw = assign(table, credit={"treepo": {"scale": False, **options}}).advantages[table.start]
    return {"raw": raw, "sub": parts, "white": assign(table, credit={"treepo": options}).advantages[table.start]}


def arpo_hard_adv(rewards: list[float], paths: list[list[str]]) -> dict[str, Any]:
    table = _of_paths(paths, rewards)
    options = {"singleton": "raw", "zero_tol": 0.0}
    own = assign(table, credit={"grpo": options}).advantages[table.start]
    shared = assign(table, credit={"tree-hard": options}).advantages
    return {"traj_adv": own, "seg_adv": dict(zip((node for path in paths for node in path), shared, strict=True))}


def in_order(groups: Sequence[str], length: Sequence[int], reward: Any, **columns: Any) -> TurnTable:
    """Trajectories in the order given, which must have each group's together and the groups sorted."""
    ids = [f"{k:06d}" for k in range(len(groups))]
    return TurnTable.from_arrays(ids=ids, group=groups, length=length, reward=reward, **columns)


def _of_paths(paths: list[list[str]], outcome: list[float], **columns: Any) -> TurnTable:
    """A trajectory's parent is the one before it that it shares the longest beginning with."""
    parents: list[str | None] = []
    shared = []
    for k, path in enumerate(paths):
        alike = [sum(path[: d + 1] == other[: d + 1] for d in range(len(path))) for other in paths[:k]]
        parents.append(f"{int(np.argmax(alike)):06d}" if max(alike, default=0) else None)
        shared.append(max(alike, default=0))
    lengths = [len(path) for path in paths]
    columns |= {"outcome": outcome, "parent": parents, "branch_turn": shared}
    return in_order(["g"] * len(paths), lengths, [0.0] * sum(lengths), **columns)


def _episode(mode: str, cross_steps: bool) -> dict[str, Any]:
    statistics = "rows" if cross_steps else "trajectories"
    return {"std": mode == "mean_std_norm", "statistics": statistics, "singleton": "raw", "zero_tol": 0.0}


def _numbered(labels: Sequence[int]) -> list[int]:
    """0, 1, ... in the order of first appearance."""
    seen: dict[int, int] = {}
    return [seen.setdefault(label, len(seen)) for label in labels]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
