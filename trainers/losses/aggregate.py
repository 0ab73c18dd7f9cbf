"""How token losses become one number: a weight per token, with one denominator per optimiser step.

Weights are worked out over all samples of the step before it is cut into micro-batches, so the gradient does not
depend on the cut.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentrl.errors import unknown
from agentrl.trainers.batching import Sample

MODES = ("token", "turn", "sequence", "sequence-sum")


def set_weights(samples: Sequence[Sample], mode: str, constant: float = 1.0) -> int:
    """Fill ``sample.weight`` so that the loss is the weighted sum of token losses; how many units count the same.

    token: every token counts the same. turn: every turn counts the same, its tokens share. sequence: every trajectory
    counts the same. sequence-sum: tokens are summed and divided by trajectories times ``constant`` (Dr.GRPO, arXiv
    2503.20783, without its length bias).
    """
    if mode not in MODES:
        raise unknown("loss aggregation", mode, MODES)
    trained = [s.turn >= 0 for s in samples]
    if mode == "token":
        total = sum(int(t.sum()) for t in trained)
        for sample, t in zip(samples, trained, strict=True):
            sample.weight = (t / max(1, total)).astype(np.float32)
        return total
    owner = "turn" if mode == "turn" else "trajectory"
    keys = [s.turn if owner == "turn" else np.full(len(s.ids), s.trajectory) for s in samples]
    counts: dict[int, int] = {}
    for key, t in zip(keys, trained, strict=True):
        for k, n in zip(*np.unique(key[t], return_counts=True), strict=True):
            counts[int(k)] = counts.get(int(k), 0) + int(n)
    for sample, key, t in zip(samples, keys, trained, strict=True):
        share = np.array(
            [
                1.0 / (counts[int(k)] if mode != "sequence-sum" else constant) if on else 0.0
                for k, on in zip(key, t, strict=True)
            ]
        )
        sample.weight = (share / max(1, len(counts))).astype(np.float32)
    return len(counts)
