"""The numeric cases of tests/cases against the very functions that training uses, at the published code's settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentrl.trainers.credit import TurnTable, assign, group_centred, joint, returns_to_go
from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.otc import coefficient
from agentrl.trainers.credit.salt import merged, steps

CASES = Path(__file__).parents[2] / "cases"


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in json.loads((CASES / f"{name}.json").read_text())["cases"]]


def close(found: Any, expected: Any, tolerance: float) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def table_of(rows: list[dict[str, Any]]) -> tuple[TurnTable, np.ndarray]:
    """The table of a case's rows, and for each table row the row of the case it came from."""
    names = list(dict.fromkeys(row["traj"] for row in rows))
    order = [i for name in names for i, row in enumerate(rows) if row["traj"] == name]
    in_order = [rows[i] for i in order]
    seen = [obs if isinstance(obs := row.get("obs", ""), str) else json.dumps(obs, sort_keys=True) for row in in_order]
    of = {name: [row for row in in_order if row["traj"] == name] for name in names}
    groups = list(dict.fromkeys(row["group"] for row in rows))
    table = TurnTable.from_arrays(
        ids=[f"{k:06d}" for k in range(len(names))],
        group=[f"{groups.index(of[name][0]['group']):06d}" for name in names],
        length=[len(of[name]) for name in names],
        reward=[row["reward"] for row in in_order],
        valid=[row.get("valid", True) for row in in_order],
        anchor=seen,
        observation=seen,
    )
    key = np.array(order)
    assert (np.diff(table.group) >= 0).all()
    return table, key[table_rows(table, names, of)]


def table_rows(table: TurnTable, names: list[str], of: dict[str, list[Any]]) -> np.ndarray:
    first = dict(zip(names, np.cumsum([0, *(len(of[name]) for name in names)]), strict=False))
    return np.array([first[names[int(table.ids[k])]] + t for k, t in zip(table.trajectory, table.turn, strict=True)])


def to_case_order(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    out = np.empty_like(values)
    out[key] = values
    return out


@pytest.mark.parametrize("case", cases("grpo"))
def test_grpo(case: dict[str, Any]) -> None:
    given = case["input"]
    if case["op"] == "rows_group_norm":
        table, key = table_of(
            [
                {"group": g, "traj": t, "reward": score if t not in given["trajs"][:i] else 0.0}
                for i, (g, t, score) in enumerate(zip(given["groups"], given["trajs"], given["scores"], strict=True))
            ]
        )
        options = {
            "std": given["mode"] == "mean_std_norm",
            "statistics": "rows" if given["cross_steps"] else "trajectories",
        }
    else:
        rows = zip(given["groups"], given["rewards"], strict=True)
        table, key = table_of([{"group": g, "traj": str(i), "reward": r} for i, (g, r) in enumerate(rows)])
        options = {k: v for k, v in given.items() if k not in ("rewards", "groups")}
    found = assign(table, credit=[{"grpo": {"singleton": "raw", "zero_tol": 0.0, **options}}]).advantages
    close(to_case_order(found, key), case["expected"], case["tolerance"])


@pytest.mark.parametrize("case", cases("gigpo"))
def test_gigpo(case: dict[str, Any]) -> None:
    given = case["input"]
    table, key = table_of(given["rows"])
    std = given.get("mode", "mean_norm") == "mean_std_norm"
    episode = {
        "std": std,
        "statistics": "rows" if given.get("cross_steps", True) else "trajectories",
        "singleton": "raw",
        "normalize_by_length": given.get("normalize_by_length", False),
        "zero_tol": 0.0,
    }
    similarity = given["thresh"] if given.get("similarity") else None
    step = {
        "std": std,
        "gamma": given.get("gamma", 0.95),
        "similarity": similarity,
        "zero_tol": 0.0,
        "weight": given.get("omega", 1.0),
    }
    credit = assign(
        table,
        rewards=[{"invalid-penalty": {"coef": given.get("invalid_coef", 0.0)}}],
        credit=[{"grpo": episode}, {"gigpo-step": step}],
    )
    expected, tolerance = case["expected"], case["tolerance"]
    close(to_case_order(credit.advantages, key), expected["adv"], tolerance)
    close(to_case_order(credit.parts["grpo"], key), expected["episode_adv"], tolerance)
    close(to_case_order(credit.parts["gigpo-step"], key) / step["weight"], expected["step_adv"], tolerance)
    found = to_case_order(anchor_groups(table, similarity), key)
    same = joint(found, np.array(expected["step_groups"]))
    assert len(np.unique(same)) == len(np.unique(found)) == len(np.unique(expected["step_groups"]))


@pytest.mark.parametrize("case", cases("hgpo"))
def test_hgpo(case: dict[str, Any]) -> None:
    given, expected = case["input"], case["expected"]
    table, key = table_of(given["rows"])
    names = {"K": "history", "alpha": "alpha", "gamma": "gamma", "base_group": "base_group"}
    options = {names[name]: value for name, value in given.items() if name in names}
    std = given.get("mode", "mean_std_norm") == "mean_std_norm"
    found = assign(table, credit=[{"hgpo": {"std": std, "singleton": "raw", **options}}]).advantages
    close(to_case_order(found, key), expected["adv"], case["tolerance"])
    returns = to_case_order(returns_to_go(table, given.get("gamma", 0.95)), key)
    close(returns, expected["step_returns"], case["tolerance"])


@pytest.mark.parametrize("case", cases("salt"))
def test_salt(case: dict[str, Any]) -> None:
    given, expected = case["input"], case["expected"]
    trajectories = given["trajectories"]
    flat = [step for t in trajectories for step in t["steps"]]
    table = TurnTable.from_arrays(
        ids=[f"{i:03d}" for i in range(len(trajectories))],
        group=[t["group"] for t in trajectories],
        length=[len(t["steps"]) for t in trajectories],
        outcome=[t["reward"] for t in trajectories],
        reward=[0.0] * len(flat),
        valid=[step.get("mergeable", True) for step in flat],
        anchor=[step["s"] for step in flat],
        action=[step["a"] for step in flat],
        next_anchor=[step["s2"] for step in flat],
    )
    history, counting = given.get("history", 0), given.get("count", "occurrence")
    step, known = steps(table, history)
    votes = known & table.valid
    if given["base"] == "given":
        own = np.array([t["adv"] for t in trajectories])[table.trajectory]
        found = merged(own, step, votes, table.trajectory, counting)
    else:
        options = {"base": given["base"].replace("_", "-"), "history": history, "counting": counting}
        found = assign(table, credit=[{"salt": options}]).advantages
    close(found, [a for row in expected["adv"] for a in row], case["tolerance"])
    makers = [set(table.trajectory[votes & (step == s)]) for s in np.unique(step[votes])]
    assert sum(len(m) > 1 for m in makers) == expected["num_merged_edges"]


@pytest.mark.parametrize("case", cases("otc"))
def test_otc(case: dict[str, Any]) -> None:
    given, expected = case["input"], case["expected"]
    if case["op"] == "otc_coef":
        n = -1.0 if given["n"] is None else given["n"]
        close(coefficient(np.array([float(given["m"])]), np.array([n]), given["c"]), [expected], case["tolerance"])
        return
    correct, calls = given["correct"], given["calls"]
    table = TurnTable.from_arrays(
        ids=[f"{k:03d}" for k in range(len(calls))],
        group=["g"] * len(calls),
        task=["t"] * len(calls),
        length=[1] * len(calls),
        reward=np.array(given.get("base", [1.0] * len(calls))) * correct,
        success=correct,
        tool_calls=calls,
    )
    before = {"otc": {"t": given["n_prev"]}} if "n_prev" in given else None
    credit = assign(table, rewards=[{"otc": {"alpha": given.get("alpha", 1.0)}}], state=before)
    close(credit.table.outcome, expected["reward"], case["tolerance"])
    close(credit.table.reward, expected["reward"], case["tolerance"])
    n = credit.state["otc"].get("t")
    assert n == expected["n"]
    coef = coefficient(np.array(calls, float), np.full(len(calls), -1.0 if n is None else n), 1.0)
    close(coef, expected["coef"], case["tolerance"])


def of_paths(paths: list[list[str]], **columns: Any) -> TurnTable:
    """A table of a case's tree: a node is a turn, and a trajectory's parent shares the longest beginning with it."""
    parents, shared = [], []
    for k, path in enumerate(paths):
        alike = [sum(path[: d + 1] == other[: d + 1] for d in range(len(path))) for other in paths[:k]]
        parents.append(f"{int(np.argmax(alike)):03d}" if max(alike, default=0) else None)
        shared.append(max(alike, default=0))
    return TurnTable.from_arrays(
        ids=[f"{k:03d}" for k in range(len(paths))],
        group=["g"] * len(paths),
        length=[len(path) for path in paths],
        reward=[0.0] * sum(map(len, paths)),
        parent=parents,
        branch_turn=shared,
        **columns,
    )


@pytest.mark.parametrize("case", cases("treepo"))
def test_treepo(case: dict[str, Any]) -> None:
    given, expected = case["input"], case["expected"]
    lengths = given.get("lengths", [1] * len(given["rewards"]))
    paths = [path[1:] for path in given["paths"]]  # the root is the prompt, not a turn
    tokens = [n if turn == 0 else 0 for path, n in zip(paths, lengths, strict=True) for turn in range(len(path))]
    table = of_paths(paths, outcome=given["rewards"], tokens=tokens)
    options = {k: v for k, v in given.items() if k in ("strategy", "drop_zero_std")} | {"singleton": "raw"}
    raw = assign(table, credit=[{"treepo": {"scale": False, **options}}]).advantages[table.start]
    close(raw, expected["raw"], case["tolerance"])
    if "white" in expected:
        white = assign(table, credit=[{"treepo": options}]).advantages[table.start]
        close(white, expected["white"], case["tolerance"])


@pytest.mark.parametrize("case", [case for case in cases("arpo_branch") if case.values[0]["op"] == "arpo_hard_adv"])
def test_tree_hard(case: dict[str, Any]) -> None:
    given, expected = case["input"], case["expected"]
    table = of_paths(given["paths"], outcome=given["rewards"])
    found = assign(table, credit=[{"tree-hard": {"singleton": "raw", "zero_tol": 0.0}}]).advantages
    close(assign(table).advantages[table.start], expected["traj_adv"], case["tolerance"])
    nodes = [node for path in given["paths"] for node in path]
    close(found, [expected["seg_adv"][node] for node in nodes], case["tolerance"])


def of_outcomes(given: dict[str, Any], **columns: Any) -> TurnTable:
    """One turn a trajectory, in the case's order."""
    ids = [f"{i:03d}" for i in range(len(given["rewards"]))]
    return TurnTable.from_arrays(
        ids=ids, group=given["groups"], length=[1] * len(ids), reward=given["rewards"], **columns
    )


@pytest.mark.parametrize("case", cases("rloo"))
def test_rloo(case: dict[str, Any]) -> None:
    given = case["input"]
    found = assign(of_outcomes(given), credit=[{"rloo": {"singleton": "raw", "zero_tol": 0.0}}]).advantages
    close(found, case["expected"], case["tolerance"])


@pytest.mark.parametrize("case", cases("reinforce_pp"))
def test_reinforce_pp(case: dict[str, Any]) -> None:
    given, expected = case["input"], case["expected"]
    if case["op"] == "reinforce_pp_baseline":
        table = of_outcomes(given, tokens=given["lengths"])
        credit = assign(table, credit=[{"reinforce-pp-baseline": {"singleton": "raw", "zero_tol": 0.0}}])
        close(credit.advantages, expected["adv"], case["tolerance"])
        return
    rewards, mask = np.array(given["token_rewards"]), np.array(given["mask"])
    table = TurnTable.from_arrays(  # a token is a step here
        ids=[f"{i:03d}" for i in range(len(rewards))],
        group=["g"] * len(rewards),
        length=[rewards.shape[1]] * len(rewards),
        reward=rewards.ravel(),
        tokens=mask.ravel(),
    )
    close(returns_to_go(table, given["gamma"]), np.ravel(expected["returns"]), case["tolerance"])
    found = assign(table, credit=[{"reinforce-pp": {"gamma": given["gamma"]}}]).advantages
    close(found * mask.ravel(), np.ravel(expected["adv"]), case["tolerance"])


def test_group_centred_needs_no_table() -> None:
    np.testing.assert_allclose(group_centred([1, 0, 0, 1], np.array([0, 0, 7, 7])), [0.5, -0.5, -0.5, 0.5])
