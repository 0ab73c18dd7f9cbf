"""How many rollouts a prompt or a prefix gets: AEPO's budget and TRACE's two stages, from predicted success."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from agentrl.errors import UserError, unknown

Tree = float | Sequence["Tree"]


def aepo_budget(k: int, h_root: float, h_tool: float, beta: float = 0.5) -> tuple[float, int]:
    """Of ``k`` rollouts, those that start from the prompt; the rest is for branches.

    ``m = k sigmoid(beta (h_root - h_tool))``, and as the published code rounds it, ``clip(floor(m) + 1, 1, k)``.
    ``h_root``: entropy of the first segment; ``h_tool``: mean entropy of the segments of one probe.

    Source: AEPO (arXiv 2510.14545).
    """
    share = k * 0.5 * (1 + math.tanh(0.5 * beta * (h_root - h_tool)))  # the sigmoid, without overflow
    return share, max(1, min(k, int(share) + 1))


def trace_root_value(v: float, m: int) -> float:
    """``1 - v^m - (1 - v)^m``: the chance that ``m`` rollouts do not all end alike; 0 for fewer than two.

    Source: TRACE (arXiv 2606.11119), from second hand.
    """
    _probability(v, "v")
    return 0.0 if m < 2 else 1.0 - v**m - (1.0 - v) ** m


def trace_prefix_value(r: float, v: float, k: int) -> float:
    """``1 - (r v + (1 - r)(1 - v))^k``: the chance that one of ``k`` continuations ends otherwise than ``r`` did.

    Source: TRACE (arXiv 2606.11119), from second hand.
    """
    return 1.0 - _same(r, v) ** k


def trace_root_alloc(v: Sequence[float], budget: int, m_max: int) -> tuple[list[int], float]:
    """Rollouts for each prompt, none or 2 to ``m_max``, at most ``budget`` in all, and the sum of root values.

    The exact optimum, by dynamic programming over the budget: the value is not concave from 0 to 2, so that taking
    the best next rollout can go wrong. Between equal sums the later prompts get fewer.
    """
    best = np.zeros(budget + 1)
    chosen = np.zeros((len(v), budget + 1), np.int64)
    for i, success in enumerate(v):
        before = best.copy()
        for m in range(2, min(m_max, budget) + 1):
            found = before[: budget + 1 - m] + trace_root_value(success, m)
            better = found > best[m:]
            best[m:][better] = found[better]
            chosen[i, m:][better] = m
    left, alloc = budget, []
    for i in reversed(range(len(v))):
        alloc.append(int(chosen[i, left]))
        left -= alloc[-1]
    return alloc[::-1], float(best[budget])


def trace_prefix_alloc(nodes: Sequence[tuple[float, float]], budget: int) -> tuple[list[int], float]:
    """Continuations for each prefix ``(r, v)``, ``budget`` in all, and the sum of prefix values.

    The best next one each time, which is optimal since the value is concave; none where nothing is to be gained.
    """
    same = [_same(r, v) for r, v in nodes]
    k = [0] * len(nodes)
    queue = [(-(1.0 - p), i) for i, p in enumerate(same)]
    heapq.heapify(queue)
    for _ in range(budget):
        if not queue or queue[0][0] == 0:
            break
        gain, i = heapq.heappop(queue)
        k[i] += 1
        heapq.heappush(queue, (gain * same[i], i))
    return k, sum(1.0 - p**n for p, n in zip(same, k, strict=True))


def trace_tree_target(tree: Tree, mean: Literal["children", "leaves"] = "children") -> float:
    """The success that a predictor should learn for a tree's root: nested lists of outcomes.

    ``children``: the mean of the children's targets, from the bottom up. ``leaves``: every leaf counts the same.
    Which one the paper means is not known.
    """
    if mean not in ("children", "leaves"):
        raise unknown("tree target", mean, ["children", "leaves"])
    if mean == "leaves":
        leaves = _leaves(tree)
        return math.fsum(leaves) / len(leaves)
    if isinstance(tree, Sequence):
        if not tree:
            raise UserError("a tree of outcomes has a node without children and without an outcome")
        return math.fsum(trace_tree_target(child) for child in tree) / len(tree)
    return float(tree)


def _leaves(tree: Tree) -> list[float]:
    if not isinstance(tree, Sequence):
        return [float(tree)]
    found = [leaf for child in tree for leaf in _leaves(child)]
    if not found:
        raise UserError("a tree of outcomes has a node without children and without an outcome")
    return found


def _same(r: float, v: float) -> float:
    _probability(r, "r")
    _probability(v, "v")
    return r * v + (1.0 - r) * (1.0 - v)


def _probability(value: float, name: str) -> None:
    if not 0.0 <= value <= 1.0:
        raise UserError(f"{name} is {value}; it must be between 0 and 1")
