"""Full-text search: BM25 over title, bullets, description and options, on postings in numpy.

Robertson and Zaragoza (2009), k1 = 1.2, b = 0.75, idf as in Lucene. A term's share of a product's score does not
depend on the query, so it is computed once, as a whole number: sums are exact and rankings the same everywhere.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt

from agentrl.envs.shop.catalogue import catalogue

FOUND = 50  # products that a search gives at most, as in WebShop
_K1, _B, _UNIT = 1.2, 0.75, 1 << 16
_LONGEST, _TERMS = 1_000, 40  # of a query: characters that are read, different terms that count
_TERM = re.compile(r"[a-z0-9]+", re.ASCII)
_COMMON = frozenset(("a", "an", "and", "are", "as", "at", "be", "by", "for", "i", "in", "is", "it", "me", "my",
                     "of", "on", "or", "that", "the", "this", "to", "with", "you"))  # fmt: skip

Postings = tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]  # products, whole-number shares of the score


def terms(text: str) -> list[str]:
    """Words in lower case without common ones; a plural is its singular."""
    found = _TERM.findall(text.lower())
    return [w[:-1] if len(w) > 3 and w[-1] == "s" and w[-2] != "s" else w for w in found if w not in _COMMON]


@lru_cache(maxsize=4096)
def search(query: str) -> tuple[int, ...]:
    """Numbers of the best :data:`FOUND` products, best first, ties by number; empty where no term is known."""
    index = _index()
    asked = dict.fromkeys(term for term in terms(query[:_LONGEST]) if term in index)
    if not asked:
        return ()
    scores = np.zeros(len(catalogue()), np.int64)
    for term in list(asked)[:_TERMS]:
        products, shares = index[term]
        scores[products] += shares
    # one number to sort by: the score, then the lower product number
    order = scores * len(scores) + np.arange(len(scores) - 1, -1, -1)
    best = np.argpartition(order, -FOUND)[-FOUND:]
    best = best[np.argsort(-order[best])]
    return tuple(int(n) for n in best if scores[n] > 0)


@cache
def _index() -> dict[str, Postings]:
    postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
    lengths = np.zeros(len(catalogue()))
    for number, product in enumerate(catalogue()):
        counted = Counter(terms(product.text()))
        lengths[number] = counted.total()
        for term, times in counted.items():
            postings[term].append((number, times))
    norm = _K1 * (1 - _B + _B * lengths / lengths.mean())
    made = {}
    for term, found in postings.items():
        products, times = np.array(found, np.int32).T
        idf = np.log1p((len(lengths) - len(products) + 0.5) / (len(products) + 0.5))
        made[term] = products, (_UNIT * idf * times / (times + norm[products])).astype(np.int32)
    return made
