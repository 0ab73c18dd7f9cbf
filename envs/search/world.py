"""A small world: people, companies, towns, rivers, books and schools, and what is true of them.

Everything is named by its name, which is unique in its world. What is true is kept once, in ``facts``; documents say
it (:mod:`agentrl.envs.search.library`), so no two of them can disagree.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from agentrl.envs.code.data import NAMES
from agentrl.seeds import derive

Value = str | int
SIZES = {"person": 48, "company": 18, "town": 24, "river": 12, "book": 40, "school": 12}
_LISTS = """
bells bicycles boats bricks buttons candles carpets cheese clocks cloth combs cups drums engines flutes glass gloves \
hats kites knives lamps locks maps matches mirrors nails needles paint paper pens pianos ropes saddles scales shoes \
soap tents tiles tools watches
Bal Bre Cor Dal Dun El Fal Gor Hal Il Jor Kel Lor Mar Nor Or Pel Quin Ros Sel Tor Ul Vel Wen Yar Zel
a an ar e en er i il in o on or u un ur
bek den dor gan holm kin lan mer mund nas rick sen stad ster ton val vik wen win zan
Amber Bitter Broken Burning Clever Distant Empty Frozen Gentle Golden Hidden Hollow Iron Last Long Lost Narrow Paper \
Quiet Restless Secret Silent Silver Sleeping Slow Stolen Strange Sunken Velvet Wandering
Bridge Candle Clock Crown Door Garden Ghost Harbour Harvest Island Journey Key Lantern Letter Lighthouse Market \
Meadow Mirror Mountain Orchard Promise River Road Season Shadow Stranger Summer Tide Tower Winter
"""
PRODUCTS, _FIRST, _MIDDLE, _LAST, _ADJECTIVES, _NOUNS = (line.split() for line in _LISTS.strip().splitlines())


@dataclass(frozen=True, slots=True)
class World:
    """``names``: kind -> names; ``kinds``: name -> kind; ``facts``: name -> attribute -> a name or a number."""

    names: dict[str, list[str]]
    kinds: dict[str, str]
    facts: dict[str, dict[str, Value]]

    def having(self, kind: str, attribute: str, value: Value) -> list[str]:
        """Those of a kind whose attribute has the value."""
        return [name for name in self.names[kind] if self.facts[name].get(attribute) == value]


@functools.lru_cache(maxsize=64)
def world(number: int) -> World:
    """The same for the same number on every machine."""
    rng = random.Random(derive("search world", number))
    names = _names(rng)
    people, companies, towns = names["person"], names["company"], names["town"]
    facts: dict[str, dict[str, Value]] = {name: {} for found in names.values() for name in found}
    populations = rng.sample(range(2_011, 89_000), len(towns))
    for i, (town, mayor) in enumerate(zip(towns, rng.sample(people, len(towns)), strict=True)):
        river = names["river"][i] if i < len(names["river"]) else rng.choice(names["river"])
        facts[town] |= {"river": river, "people": populations[i], "mayor": mayor}
    for left, right in _pairs(towns, rng):
        facts[left]["twin"], facts[right]["twin"] = right, left
    for river in names["river"]:
        on_it = [town for town in towns if facts[town]["river"] == river]
        facts[river] |= {"length": rng.randint(41, 980), "end": rng.choice(on_it)}
    for school, rector in zip(names["school"], rng.sample(people, len(names["school"])), strict=True):
        facts[school] |= {"town": rng.choice(towns), "founded": rng.randint(1480, 1899), "rector": rector}
    for person in people:
        facts[person] |= {"born": rng.randint(1921, 1980), "birthplace": rng.choice(towns)}
        facts[person] |= {"school": rng.choice(names["school"]), "employer": rng.choice(companies)}
    for left, right in _pairs(people[: len(people) * 3 // 4 // 2 * 2], rng):
        facts[left]["spouse"], facts[right]["spouse"] = right, left
    for company, founder in zip(companies, rng.sample(people, len(companies)), strict=True):
        founded = int(facts[founder]["born"]) + rng.randint(22, 40)
        facts[company] |= {"town": rng.choice(towns), "founded": founded, "founder": founder}
        facts[company] |= {"product": rng.choice(PRODUCTS)}
        facts[company] |= {"supplier": rng.choice([other for other in companies if other != company])}
    authors = rng.sample(people, len(names["book"]) * 2 // 5)
    for i, book in enumerate(names["book"]):
        author = authors[i % len(authors)]
        publisher = rng.choice(companies)
        begun = max(int(facts[author]["born"]) + 21, int(facts[publisher]["founded"]))
        facts[book] |= {"author": author, "publisher": publisher, "year": begun + rng.randint(1, 24)}
        facts[book] |= {"pages": rng.randint(81, 890), "setting": rng.choice(towns)}
    return World(names, {name: kind for kind, found in names.items() for name in found}, facts)


def _names(rng: random.Random) -> dict[str, list[str]]:
    words = dict.fromkeys(f"{a}{b}{c}" for a, b, c in _letters(rng, 200))
    fresh = iter(words)
    surnames = [next(fresh) for _ in range(30)]
    people = [f"{first} {last}" for first in NAMES for last in surnames]
    titles = [f"The {adjective} {noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    return {
        "person": rng.sample(people, SIZES["person"]),
        "company": [f"{next(fresh)} {rng.choice(('Works', 'Brothers', 'Company'))}" for _ in range(SIZES["company"])],
        "town": [next(fresh) for _ in range(SIZES["town"])],
        "river": [f"{next(fresh)} River" for _ in range(SIZES["river"])],
        "book": rng.sample(titles, SIZES["book"]),
        "school": [f"{next(fresh)} College" for _ in range(SIZES["school"])],
    }


def _letters(rng: random.Random, n: int) -> list[tuple[str, str, str]]:
    return [(rng.choice(_FIRST), rng.choice(_MIDDLE), rng.choice(_LAST)) for _ in range(n)]


def _pairs(names: list[str], rng: random.Random) -> list[tuple[str, str]]:
    """Everybody in one pair."""
    shuffled = rng.sample(names, len(names))
    return list(zip(shuffled[::2], shuffled[1::2], strict=True))
