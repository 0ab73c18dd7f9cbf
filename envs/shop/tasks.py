"""What buyers want, by id: ``train-00017`` is one request for good.

A task draws a product, some of its attributes and options and a price ceiling (one of the next ten-dollar steps above
its price, as in WebShop), and draws again until the expert buys it with turns to spare. ``seen`` asks as ``train``
does, for other goods of the same 70 kinds. ``unseen`` asks for ten other kinds (every eighth product is of one of
them), and each of its requests names an attribute that the others never ask of that kind (``HELD_OUT``). So what has to
carry over to it is the skill, with words that no training request held.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from agentrl.envs.ids import Ids
from agentrl.envs.shop import words
from agentrl.envs.shop.catalogue import Product, catalogue, dollars
from agentrl.envs.shop.expert import solves
from agentrl.envs.shop.score import Goal
from agentrl.errors import unknown
from agentrl.seeds import derive

SPLITS = {"train": 10_000, "seen": 500, "unseen": 500}
UNSEEN_PRODUCTS = 8  # one product in so many is wanted in ``unseen`` only
_STEP = 1_000  # cents

# Of every kind a quarter of its group's attributes: each is asked of the group's other kinds.
HELD_OUT = {
    kind: frozenset(goods.attributes[(3 * k + j) % len(goods.attributes)] for j in range(3))
    for goods in words.GOODS
    for k, kind in enumerate(goods.kinds)
}


def ids(split: str) -> Ids:
    """The task ids of a split."""
    return Ids([split], SPLITS[split])


def splits() -> dict[str, Sequence[str]]:
    """The task ids of every split."""
    return {split: ids(split) for split in SPLITS}


@lru_cache(maxsize=1 << 14)
def goal_of(task: str) -> Goal:
    """The goal of a task. Raises UserError for an unknown one."""
    if not any(task in known for known in splits().values()):
        raise unknown("shop task", task, [f"{split}-00000 to {split}-{n - 1:05d}" for split, n in SPLITS.items()])
    rng = random.Random(derive("shop task", task))
    unseen = task.startswith("unseen")
    while True:
        goal = _draw(rng, unseen)
        if goal is not None and solves(goal):
            return goal


def _draw(rng: random.Random, unseen: bool) -> Goal | None:
    number = rng.randrange(len(catalogue()))
    product = catalogue()[number]
    held_out = HELD_OUT[product.kind]
    fit = [a for a in product.attributes if unseen or a not in held_out]
    if unseen != (number % UNSEEN_PRODUCTS == 0) or not fit:
        return None
    attributes = rng.sample(fit, min(len(fit), rng.randint(1, 3)))
    if unseen and not held_out.intersection(attributes):
        return None
    names = sorted(rng.sample(sorted(product.options), rng.randint(1, len(product.options))))
    options = {name: rng.choice(product.options[name]) for name in names}
    ceiling = (product.cents // _STEP + rng.randint(1, 4)) * _STEP
    return Goal(_said(rng, product, attributes, options, ceiling), product, tuple(attributes), options, ceiling)


def _said(
    rng: random.Random, product: Product, attributes: Sequence[str], options: dict[str, str], ceiling: int
) -> str:
    request = rng.choice(words.REQUESTS).format(
        kind=product.kind,
        attributes=" and ".join(attributes),
        options="".join(f", {name}: {value}" for name, value in options.items()),
    )
    return f"{request}, and price lower than {dollars(ceiling)} dollars"
