"""Tries of samples: every prefix that several share is computed once.

Samples in lexicographic order are leaves in depth-first order: what a sample adds to the one before it are new nodes,
and the rest of its path is that one's. Only input ids make nodes. A logprob belongs to a node and the id that follows
it; losses get one row a sample and token, gathered from those, so that each stays what it is under any layout.

A node is told from its siblings by its key: a token id or, for a placeholder of an image, the negative digest of that
image (:func:`agentrl.policies.vision.keyed`). Its position is settled by the keys of its path, in every model here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentrl.policies.prefixes import IntArray, common, in_order
from agentrl.trainers.attention import Ints, Tree


def cut(sequences: Sequence[IntArray], budget: int) -> list[list[int]]:
    """Indices of the sequences of keys in each trie, in order; none of more than ``budget`` nodes but for a single one.

    A new trie repeats the path of its first sequence, the stem, and nothing else.
    """
    tries: list[list[int]] = []
    nodes = 0
    for i in in_order(sequences):
        ids = sequences[i]
        new = len(ids) - common(sequences[tries[-1][-1]], ids) if tries else budget + 1
        if nodes + new > budget:
            tries.append([])
            nodes, new = 0, len(ids)
        tries[-1].append(i)
        nodes += new
    return tries


def build(sequences: Sequence[IntArray], share: bool = True) -> tuple[Tree, list[Ints]]:
    """The tree of N nodes, and each sequence's nodes. ``sequences`` of keys stand in order.

    Without ``share`` each sequence has nodes of its own, whatever the order: packing.
    """
    depths: list[Ints] = []
    paths: list[Ints] = []
    chains: list[tuple[Ints, int]] = []  # paths with where their own nodes begin
    total = sum(map(len, sequences))
    end = np.zeros(total, np.int64)
    nodes = 0
    for i, sequence in enumerate(sequences):
        shared = common(sequences[i - 1], sequence) if share and i else 0
        before = paths[-1] if i else np.zeros(0, np.int64)
        end[before[shared:]] = nodes  # what the last sequence does not share with this one has no further descendant
        new = len(sequence) - shared
        paths.append(np.concatenate([before[:shared], nodes + np.arange(new)]))
        if i and shared == len(before):  # it goes on where the last one ended: one chain
            chains[-1] = (paths[-1], chains[-1][1])
        else:
            chains.append((paths[-1], shared))
        depths.append(np.arange(shared, len(sequence)))
        nodes += new
    if paths:
        end[paths[-1]] = nodes
    return Tree(np.concatenate(depths), end[:nodes], chains), paths
