"""The search: BM25 against a plain computation, and queries nobody should type."""

import math
import random
from collections import Counter

import pytest

from agentrl.envs.shop.catalogue import catalogue
from agentrl.envs.shop.search import FOUND, search, terms


def plainly(query: str) -> list[float]:
    """BM25 of every product, term by term, as the formula is written."""
    documents = [Counter(terms(product.text())) for product in catalogue()]
    mean = sum(d.total() for d in documents) / len(documents)
    scores = [0.0] * len(documents)
    for term in dict.fromkeys(terms(query)):
        holders = sum(term in d for d in documents)
        idf = math.log(1 + (len(documents) - holders + 0.5) / (holders + 0.5))
        for n, d in enumerate(documents):
            if d[term]:
                scores[n] += idf * d[term] / (d[term] + 1.2 * (0.25 + 0.75 * d.total() / mean))
    return scores


@pytest.mark.parametrize("query", ["running shoes memory foam", "Vitamin C face creams!", "dog", "tea tea tea green"])
def test_scores_are_those_of_the_formula(query):
    scores = plainly(query)
    found = search(query)
    assert len(found) == FOUND
    assert [scores[n] for n in found] == pytest.approx(sorted(scores, reverse=True)[:FOUND], abs=1e-3)


def test_a_product_is_found_by_its_own_words():
    for number in random.Random(0).sample(range(len(catalogue())), 50):
        product = catalogue()[number]
        assert number in search(f"{product.title} {' '.join(product.bullets)}")


@pytest.mark.parametrize("query", ["", " ", "zzzz", "the of and", "\ud800", "日本語", "[]]" * 10])
def test_unknown_words_find_nothing(query):
    assert search(query) == ()


def test_long_queries_are_cut():
    assert search("shoes " * 100_000) == search("shoes")


def test_plurals_are_their_singular():
    assert terms("The Running Shoes, lens & dress") == ["running", "shoe", "len", "dress"]
