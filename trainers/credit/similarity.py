"""Clusters of like texts, exactly as comparing each with every cluster in turn would give them, without doing so.

The measure is difflib's, which the published GiGPO code uses: ``ratio = 2 M / (|a| + |b|)`` with ``M`` the characters
in Ratcliff and Obershelp's matching blocks. It costs milliseconds for a pair of texts of a page. Blocks lie in order
in both texts, so ``M`` is at most their longest common subsequence, which is at most the characters they share in any
order, which is at most the length of the shorter one. Most pairs fall below the threshold by one of these, the last
two of which are taken of a text and all clusters at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.trainers.credit.columns import Ints


class Alike:
    """Which of distinct ``texts`` are alike: ``SequenceMatcher(None, text, member).ratio() >= thresh``."""

    def __init__(self, texts: Sequence[str], thresh: float) -> None:
        self.texts, self.thresh = texts, thresh
        self._places: dict[int, dict[str, int]] = {}
        self._matchers: dict[int, SequenceMatcher[str]] = {}
        self._known: dict[tuple[int, int], bool] = {}

    def __call__(self, text: int, member: int) -> bool:
        """Of two indices. The measure is not symmetric. Each pair is compared once, whoever asks."""
        pair = text, member
        if pair not in self._known:
            self._known[pair] = self._compare(self.texts[text], member)
        return self._known[pair]

    def enough(self, shared: Any, total: Any) -> Any:
        """Whether two texts of ``total`` characters together that share ``shared`` reach the threshold; elementwise.

        It is difflib's own arithmetic, which grows with ``shared``: where a bound fails here, the ratio fails there.
        """
        return 2.0 * shared / total >= self.thresh

    def _compare(self, text: str, member: int) -> bool:
        of = self.texts[member]
        total = len(text) + len(of)
        first = _common_start(text, of)
        ends = first + _common_start(text[first:][::-1], of[first:][::-1])
        if not self.enough(ends, total):  # else the middle need not be looked at
            if member not in self._places:
                self._places[member] = _places(of)
            if not self.enough(_common_subsequence(text, of, self._places[member], first, ends - first), total):
                return False
        if member not in self._matchers:
            self._matchers[member] = SequenceMatcher(None, "", of)
        matcher = self._matchers[member]
        matcher.set_seq1(text)
        return matcher.ratio() >= self.thresh


def clusters(order: Sequence[int], alike: Alike) -> Ints:
    """[K] the cluster of each text of ``order`` [K], indices of distinct texts.

    One after another, a text joins the first cluster, in order of creation, whose first member it is alike to, or
    opens one. Time is that of the pairs that the bounds leave, and of bounds that are taken of all the rest: the
    square of the number of clusters, times the size of the alphabet.
    """
    texts = [alike.texts[i] for i in order]
    length = np.array([len(text) for text in texts], np.int64)
    counts = _counts(texts, length)
    label = np.zeros(len(texts), np.int64)
    members = np.zeros(len(texts), np.int64)  # of the clusters, in order of creation: places in ``order``
    lengths, held = np.zeros(len(texts), np.int64), np.zeros_like(counts)  # theirs
    n = 0
    for k in range(len(texts)):
        total = length[k] + lengths[:n]
        near = np.flatnonzero(alike.enough(np.minimum(length[k], lengths[:n]), total))
        if len(near):
            shared = np.minimum(counts[k], held[near]).sum(1, dtype=np.int64)
            near = near[alike.enough(shared, total[near])]
        label[k] = next((c for c in near.tolist() if alike(order[k], order[members[c]])), n)
        if label[k] == n:
            members[n], lengths[n], held[n] = k, length[k], counts[k]
            n += 1
    return label


def _counts(texts: Sequence[str], length: Ints) -> npt.NDArray[np.unsignedinteger[Any]]:
    """[K, A] how often each text has each character of the alphabet of all of them."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    alphabet, code = np.unique(codes, return_inverse=True)
    owner = np.repeat(np.arange(len(texts)), length)
    counts = np.bincount(owner * len(alphabet) + code, minlength=len(texts) * len(alphabet))
    smallest = np.min_scalar_type(int(counts.max(initial=0)))
    return counts.reshape(len(texts), len(alphabet)).astype(smallest)


def _places(text: str) -> dict[str, int]:
    """For each character the bits of the places where it stands."""
    places: dict[str, int] = {}
    for i, character in enumerate(text):
        places[character] = places.get(character, 0) | 1 << i
    return places


def _common_subsequence(a: str, b: str, places: dict[str, int], first: int, last: int) -> int:
    """The length of the longest common subsequence; ``places`` are those of ``b``.

    ``first`` and ``last`` characters, which both begin and end with, belong to it. Between, a column of the usual
    table in the bits of one integer: Hyyrö 2004, after Crochemore and others 2001.
    """
    size = len(b) - first - last
    every = (1 << size) - 1
    column = every
    for character in a[first : len(a) - last]:
        if found := column & places.get(character, 0) >> first:
            column = (column + found | column - found) & every
    return first + last + size - column.bit_count()


def _common_start(a: str, b: str) -> int:
    """How many characters both begin with."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a.startswith(b[low:middle], low) else (low, middle - 1)
    return low
