"""When to branch a rollout: the entropy of a segment, and the rules of ARPO and AEPO as pure functions.

None of them draws a random number: uniforms come in from the caller, one for each (prompt, round, rollout, attempt),
so that a decision does not depend on which other prompts happen to share the batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import numpy as np

from agentrl.errors import UserError, unknown

EntropyMode = Literal["sum_topk", "mean_tail"]


def seg_entropy(
    logprobs_per_token: Sequence[Sequence[float]], vocab: int, first_k: int = 20, mode: EntropyMode = "sum_topk"
) -> float:
    """Entropy of a segment's first ``first_k`` tokens, in units of ``ln vocab``; 0 for an empty segment.

    ``logprobs_per_token``: for each token the natural logs of the highest probabilities. ``sum_topk``, the published
    code: ``sum_t sum_top -p ln p``, so that a longer segment has more. ``mean_tail``: the mean over the tokens, where
    what the top leaves over, ``q = 1 - sum p``, counts as one outcome, ``-q ln q``: a lower bound of the true mean.

    Source: ARPO (arXiv 2507.19849).
    """
    if mode not in ("sum_topk", "mean_tail"):
        raise unknown("entropy mode", mode, ["sum_topk", "mean_tail"])
    if vocab < 2 or first_k < 1:
        raise UserError(f"segment entropy needs vocab >= 2 and first_k >= 1, not {vocab} and {first_k}")
    taken = [np.asarray(top, np.float64) for top in logprobs_per_token[:first_k]]
    for t, top in enumerate(taken):
        if not (top <= 1e-6).all():  # nan fails this as well
            raise UserError(f"token {t} of the segment has a log-probability above 0 or nan: {top.tolist()}")
    each = [_entropy(top, tail=mode == "mean_tail") for top in taken]
    total = math.fsum(each) / math.log(vocab)
    return total / max(1, len(each)) if mode == "mean_tail" else total


def _entropy(top: np.ndarray, tail: bool) -> float:
    p = np.exp(top[np.isfinite(top)])  # a token that cannot be sampled adds nothing
    if tail:
        p = np.append(p, max(0.0, 1.0 - p.sum()))
    p = p[p > 0]
    return float(-(p * np.log(p)).sum())


def arpo_decide(u: float, dh: float, b: float = 0.5, w: float = 0.2) -> bool:
    """Branch iff ``clip(u - w dh, 0, 1) <= b``: u uniform in [0, 1), dh the segment's entropy less the first one's.

    Source: ARPO's published code; its paper has another rule, :func:`paper_decide`.
    """
    return _clip(u - w * dh) <= b


def arpo_prob(dh: float, b: float = 0.5, w: float = 0.2) -> float:
    """How often :func:`arpo_decide` says yes: ``clip(b + w dh, 0, 1)``, for b below 1."""
    return _clip(b + w * dh)


def aepo_decide(u: float, dh: float, consecutive: int = 0, b: float = 0.5, w: float = 0.2) -> bool:
    """Branch iff ``clip((u + w dh) max(0, 1 - 0.05 c), 0, 1) >= b``, c the branchings in a row before this one.

    The published code counts c for a prompt. Counted for a path, one path's branching does not hold back another's.

    Source: AEPO (arXiv 2510.14545), published code.
    """
    return _clip((u + w * dh) * max(0.0, 1.0 - 0.05 * consecutive)) >= b


def paper_decide(
    dh: float, alpha: float, beta: float, tau: float, consecutive: int = 0, penalty: float = 0.0
) -> tuple[float, bool]:
    """``P = (alpha + beta dh) max(0, 1 - penalty c)``, and whether to branch: ``P > tau``.

    With ``penalty=0`` the rule of ARPO's paper, else AEPO's, whose linear penalty is from second hand: unverified.
    """
    p = (alpha + beta * dh) * max(0.0, 1.0 - penalty * consecutive)
    return p, p > tau


def branch_round(
    active: Sequence[int],
    decide: Callable[[int, float], bool],
    draw: Callable[[int, int], float],
    count: int,
    limit: int,
    beam: int,
) -> list[int]:
    """One prompt's round: the rollouts that are branched, in order, one entry a branch.

    ``active``: rollouts that wait after a tool's answer; ``count`` of at most ``limit`` rollouts exist. Each in turn
    has ``min(beam - 1, slots that are left)`` attempts, fixed when it is its turn: ``decide(rollout, draw(rollout,
    attempt))``.

    Source: ARPO's published code.
    """
    slots = limit - count
    sources: list[int] = []
    for rollout in active:
        attempts = min(beam - 1, slots - len(sources))
        sources += [rollout for attempt in range(attempts) if decide(rollout, draw(rollout, attempt))]
    return sources


def arpo_reward(acc: float, format_ok: bool, tools_used: Collection[str]) -> float:
    """-1 without a readable answer, 0 for a wrong one, else ``acc``, and 0.1 more where search and python both ran.

    Source: ARPO's published code.
    """
    if not format_ok:
        return -1.0
    return acc + 0.1 if acc > 0 and {"search", "python"} <= set(tools_used) else float(acc)


def _clip(x: float) -> float:
    if math.isnan(x):
        raise UserError("a branching decision needs numbers: the draw or the entropy gap is nan")
    return min(1.0, max(0.0, x))
