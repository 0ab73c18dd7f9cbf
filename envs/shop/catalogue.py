"""The products: the same twelve thousand in every process, generated from one seed when they are first asked for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache

from agentrl.envs.shop import words
from agentrl.envs.shop.words import Goods
from agentrl.seeds import derive

SIZE = 12_000
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]


@dataclass(frozen=True, slots=True)
class Product:
    """``attributes`` are what it is judged by; each stands word for word in title, bullets or description."""

    id: str
    kind: str  # what WebShop calls the query: the search it belongs to
    category: str  # "Department › Group › Kind"
    brand: str
    title: str
    cents: int
    attributes: tuple[str, ...]
    options: dict[str, tuple[str, ...]]
    bullets: tuple[str, ...]
    description: str
    rating: float
    reviews: tuple[str, ...]

    @property
    def price(self) -> str:
        return dollars(self.cents)

    def text(self) -> str:
        """Everything that the search looks into."""
        values = (value for values in self.options.values() for value in values)
        return " ".join((self.title, *self.bullets, self.description, *values))


def dollars(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


@cache
def catalogue() -> tuple[Product, ...]:
    """All products, by number."""
    kinds = [(goods, kind) for goods in words.GOODS for kind in goods.kinds]
    return tuple(_product(n, *kinds[n % len(kinds)]) for n in range(SIZE))


@cache
def numbers() -> dict[str, int]:
    """The number of each product, by id."""
    return {product.id: number for number, product in enumerate(catalogue())}


def _product(number: int, goods: Goods, kind: str) -> Product:
    rng = random.Random(derive("shop product", number))
    brand = rng.choice(words.BRAND_HEADS) + rng.choice(words.BRAND_TAILS)
    attributes = rng.sample(goods.attributes, rng.randint(4, 6))
    in_title, in_bullets = rng.randint(1, 2), rng.randint(2, 3)
    told = attributes[in_title : in_title + in_bullets]
    rest = attributes[in_title + in_bullets :]
    said = rng.choice(words.SAID).format(", ".join(rest)) if rest else ""
    low, high = goods.prices
    return Product(
        id=_id(number),
        kind=kind,
        category=f"{goods.department} › {goods.group} › {kind}",
        brand=brand,
        title=", ".join((f"{brand} {kind}", *attributes[:in_title])),
        # most things are cheap: the square of a uniform number
        cents=int(100 * (low + (high - low) * rng.random() ** 2)) // 50 * 50 + rng.choice((0, 25, 49)),
        attributes=tuple(attributes),
        options={name: _some(rng, values) for name, values in goods.options.items()},
        bullets=tuple(rng.choice(words.BULLETS).format(attribute) for attribute in told),
        description=rng.choice(words.DESCRIPTIONS)
        .format(kind=kind, brand=brand, year=rng.randint(1950, 2015), said=said)
        .strip(),
        rating=rng.randint(20, 50) / 10,
        reviews=tuple(rng.sample(words.REVIEWS, rng.randint(0, 3))),
    )


def _id(number: int) -> str:
    """Three syllables: as arbitrary as a shop's number, and shorter to read, to say and to write in tokens."""
    mixed = number * 190_121 % len(_SYLLABLES) ** 3  # one to one: the factor is prime to the modulus
    return "".join(_SYLLABLES[mixed // len(_SYLLABLES) ** place % len(_SYLLABLES)] for place in range(3))


def _some(rng: random.Random, values: tuple[str, ...]) -> tuple[str, ...]:
    """Some of the values, at least two, in the order they are listed in."""
    chosen = set(rng.sample(values, rng.randint(2, min(5, len(values)))))
    return tuple(value for value in values if value in chosen)
