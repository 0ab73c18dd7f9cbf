"""WebShop's reward (arXiv:2207.01206, section 3), paid once, at Buy Now.

    reward = type · (attributes matched + options matched + [price <= ceiling]) / (attributes + options + 1)

An attribute is matched by an attribute of the product of the same words (token set ratio above 85), or literally in
its title, bullets or description; an option by a chosen one, in the same way. ``type`` is 1, and less where what was
bought is another thing: 0.5 where neither the kind, nor two levels of the category, nor a fifth of the title's nouns
agree; 0.1 and 0 where fewer than a tenth or none of the nouns do. The original asks a tagger which words of a title
are nouns; here they are the words of brand and kind, which is what its titles' nouns are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from agentrl.envs.shop.catalogue import Product

CLOSE = 85  # token set ratios above this are a match
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Goal:
    """What a buyer wants; ``product`` is one that has it all. ``ceiling`` in cents."""

    text: str
    product: Product
    attributes: tuple[str, ...]
    options: Mapping[str, str]
    ceiling: int

    @property
    def level(self) -> str:
        """How much is asked for beside the price."""
        return f"{len(self.attributes) + len(self.options)} conditions"


def score(bought: Product, chosen: Mapping[str, str], goal: Goal) -> float:
    """The reward, 0 to 1, for buying a product with the chosen options."""
    matched = sum(_has(bought, attribute) for attribute in goal.attributes)
    matched += sum(_close_to_any(value, chosen.values()) for value in goal.options.values())
    matched += bought.cents <= goal.ceiling
    return type_score(bought, goal.product) * matched / (len(goal.attributes) + len(goal.options) + 1)


def type_score(bought: Product, wanted: Product) -> float:
    """How far the bought thing is of the wanted type: 1, 0.5, 0.1 or 0."""
    nouns = _nouns(wanted)
    title = len(nouns & _nouns(bought)) / len(nouns)
    if title == 0:
        return 0.0
    if title < 0.1:
        return 0.1
    shared = set(bought.category.split(" › ")) & set(wanted.category.split(" › "))
    return 1.0 if bought.kind == wanted.kind or len(shared) >= 2 or title > 0.2 else 0.5


@lru_cache(maxsize=1 << 16)
def token_set_ratio(a: str, b: str) -> int:
    """How alike two texts are as sets of words, 0 to 100, as thefuzz's function of this name computes it."""
    one, other = set(_WORD.findall(a.lower())), set(_WORD.findall(b.lower()))
    if not one or not other:
        return 0
    both = one & other
    if both and (not one - both or not other - both):
        return 100
    shared = " ".join(sorted(both))
    left = " ".join(filter(None, (shared, " ".join(sorted(one - both)))))
    right = " ".join(filter(None, (shared, " ".join(sorted(other - both)))))
    pairs = ((left, right), (shared, left), (shared, right)) if shared else ((left, right),)
    return max(round(_ratio(x, y)) for x, y in pairs)


def _ratio(a: str, b: str) -> float:
    """100 · 2·LCS / (|a| + |b|): the normalised insertion-deletion similarity."""
    row = [0] * (len(b) + 1)
    for x in a:
        corner = 0
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], corner + 1 if x == y else max(row[j], row[j - 1])
    return 200 * row[-1] / (len(a) + len(b))


def _has(product: Product, attribute: str) -> bool:
    if _close_to_any(attribute, product.attributes):
        return True
    texts = product.title, " ".join(product.bullets), product.description
    return any(attribute in text.lower() for text in texts)


def _close_to_any(wanted: str, values: Iterable[str]) -> bool:
    return any(token_set_ratio(value, wanted) > CLOSE for value in values)


def _nouns(product: Product) -> set[str]:
    return set(_WORD.findall(f"{product.brand} {product.kind}".lower()))
