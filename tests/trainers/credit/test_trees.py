"""Credit over branched trajectories, against plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl.trainers.credit import TurnTable, assign
from agentrl.trainers.credit.trees import owners

Tree = list[tuple[int, int, int, float]]  # (parent or -1, shared turns, turns, outcome), parents first


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    tree: Tree = []
    for k in range(draw(st.integers(1, 6))):
        parent = draw(st.integers(-1, k - 1))
        shared = draw(st.integers(0, tree[parent][2])) if parent >= 0 else 0
        tree.append((parent, shared, max(1, shared + draw(st.integers(0, 3))), draw(st.sampled_from([0.0, 1.0, 0.5]))))
    return tree


def table_of(tree: Tree, reverse: bool = False) -> TurnTable:
    names = [f"{len(tree) - k if reverse else k:03d}" for k in range(len(tree))]
    return TurnTable.from_arrays(
        ids=names,
        group=["g"] * len(tree),
        length=[length for _, _, length, _ in tree],
        reward=[0.0] * sum(length for _, _, length, _ in tree),
        outcome=[outcome for *_, outcome in tree],
        parent=[names[parent] if parent >= 0 else None for parent, *_ in tree],
        branch_turn=[shared for _, shared, _, _ in tree],
    )


def paths_of(tree: Tree) -> list[list[tuple[int, int]]]:
    """For each trajectory its turns as (who played it, turn)."""
    paths: list[list[tuple[int, int]]] = []
    for k, (parent, shared, length, _) in enumerate(tree):
        begun = paths[parent][:shared] if parent >= 0 else []
        paths.append(begun + [(k, t) for t in range(len(begun), length)])
    return paths


@settings(max_examples=500, deadline=None)
@given(trees(), st.booleans())
def test_tree_hard(tree: Tree, reverse: bool) -> None:
    table, paths = table_of(tree, reverse), paths_of(tree)
    own = [assign(table).of(name)[0] for name in ids(tree, reverse)]
    found = assign(table, credit="tree-hard")
    for k, name in enumerate(ids(tree, reverse)):
        holders = [[i for i, path in enumerate(paths) if node in path] for node in paths[k]]
        expected = [math.fsum(own[i] for i in held) / len(held) for held in holders]
        np.testing.assert_allclose(found.of(name), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=500, deadline=None)
@given(trees(), st.booleans(), st.sampled_from(["average", "group_size"]), st.booleans(), st.booleans())
def test_treepo(tree: Tree, reverse: bool, strategy: str, branches: bool, drop: bool) -> None:
    paths, outcome = paths_of(tree), [r for *_, r in tree]
    options = {"strategy": strategy, "depth": "branches" if branches else "turns", "drop_zero_std": drop}
    found = assign(table_of(tree, reverse), credit=[{"treepo": {"scale": False, **options}}])
    for k, name in enumerate(ids(tree, reverse)):
        everyone = list(range(len(tree)))
        groups, before = [everyone], everyone
        for node in paths[k]:
            sub = [i for i in everyone if node in paths[i]]
            spread = max(outcome[i] for i in sub) - min(outcome[i] for i in sub)
            if len(sub) > 1 and not (branches and sub == before) and not (drop and spread == 0):
                groups.append(sub)
            before = sub
        items = [
            (len(g) if strategy == "group_size" else 1, outcome[k] - math.fsum(outcome[i] for i in g) / len(g))
            for g in groups
        ]
        expected = sum(w * a for w, a in items) / sum(w for w, _ in items)
        np.testing.assert_allclose(found.of(name), expected, rtol=1e-9, atol=1e-9)


def ids(tree: Tree, reverse: bool) -> list[str]:
    return [f"{len(tree) - k if reverse else k:03d}" for k in range(len(tree))]


def test_a_copied_turn_has_one_owner() -> None:
    table = table_of([(-1, 0, 3, 1.0), (0, 2, 3, 0.0), (1, 1, 2, 0.0)])
    assert owners(table).tolist() == [0, 1, 2, 0, 1, 5, 0, 7]


@pytest.mark.parametrize("method", ["tree-hard", {"treepo": {"scale": False}}])
def test_without_branches_it_is_the_flat_method(method: Any) -> None:
    table = table_of([(-1, 0, 3, 1.0), (-1, 0, 2, 0.0), (-1, 0, 1, 0.0)])
    flat = assign(table, credit=[{"grpo": {"std": method == "tree-hard"}}]).advantages
    np.testing.assert_allclose(assign(table, credit=[method]).advantages, flat)
