"""What sequences of token ids share from their beginnings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32] | NDArray[np.int64]
WORTH = 64  # shared tokens that are worth a forward of their own


def common(a: IntArray, b: IntArray) -> int:
    """How many ids two sequences share from the start on."""
    n = min(len(a), len(b))
    differs = a[:n] != b[:n]
    return int(differs.argmax()) if differs.any() else n


def in_order(sequences: Sequence[IntArray]) -> list[int]:
    """Indices of ``sequences`` in lexicographic order (negative ones last), a prefix before what it begins."""
    keys = [ids.astype(f">u{ids.itemsize}").tobytes() for ids in sequences]  # such bytes compare as the ids do
    return sorted(range(len(keys)), key=keys.__getitem__)


def generations(sequences: Sequence[IntArray], done: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """Sequences in the order in which they are best computed: (index, leader, shared) in each generation.

    ``done[i]``: ids of sequence i whose keys are known already. A sequence whose first ``shared`` ids are also those of
    one in an earlier generation, its leader, can take their keys from it. The first generation's leaders are -1. The
    last id of a sequence is never shared: its logits are needed.
    """
    found: list[list[tuple[int, int, int]]] = []
    leader, shared, depth = [-1] * len(sequences), [0] * len(sequences), [0] * len(sequences)
    before = -1
    for i in in_order(sequences):
        if before >= 0:
            n = min(common(sequences[before], sequences[i]), len(sequences[i]) - 1)
            while leader[before] >= 0 and shared[before] >= n:  # siblings follow the one that they share it with
                before = leader[before]
            if n - done[i] >= WORTH:
                leader[i], shared[i], depth[i] = before, n, depth[before] + 1
        found += [[]] if depth[i] == len(found) else []
        found[depth[i]].append((i, leader[i], shared[i]))
        before = i
    return found
