"""BM25 over a few hundred short documents, in plain Python: a query is a few dictionary look-ups."""

from __future__ import annotations

import heapq
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping

_WORD = re.compile(r"\w+")


class Index:
    """``texts``: id -> text. Score of a document for a query: the sum over the query's words w of

        idf(w) f (k1 + 1) / (f + k1 (1 - b + b length / mean length)),  idf(w) = ln(1 + (N - n + 1/2) / (n + 1/2))

    with f the word's count in the document and n the documents it is in. Source: Robertson and Zaragoza, The
    Probabilistic Relevance Framework: BM25 and Beyond (2009), with the idf of Lucene, which is never negative.
    """

    def __init__(self, texts: Mapping[str, str], k1: float = 1.2, b: float = 0.75) -> None:
        counts = {id: Counter(words(text)) for id, text in texts.items()}
        mean = sum(c.total() for c in counts.values()) / max(1, len(counts)) or 1.0
        self._postings: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
        for id, counter in counts.items():
            norm = k1 * (1 - b + b * counter.total() / mean)
            for word, f in counter.items():
                self._postings[word].append((id, f * (k1 + 1) / (f + norm)))
        self._idf = {
            word: math.log(1 + (len(counts) - len(found) + 0.5) / (len(found) + 0.5))
            for word, found in self._postings.items()
        }

    def search(self, query: str, k: int) -> list[str]:
        """The ids of the ``k`` best documents with any word of the query, best first; ties in the order of ids."""
        scores: defaultdict[str, float] = defaultdict(float)
        for word in dict.fromkeys(words(query)):
            idf = self._idf.get(word, 0.0)
            for id, weight in self._postings.get(word, ()):
                scores[id] += idf * weight
        return [id for _, id in heapq.nsmallest(k, ((-score, id) for id, score in scores.items()))]


def words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
