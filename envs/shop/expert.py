"""A buyer who looks before buying, from nothing but what the pages have shown so far.

Search for what is wanted; open the first product of the kind that is cheap enough and not known to lack something;
read its tabs until every wanted attribute was read; choose the options; buy.
"""

from __future__ import annotations

from agentrl.envs.shop import store
from agentrl.envs.shop.catalogue import catalogue, numbers
from agentrl.envs.shop.score import Goal, score
from agentrl.envs.shop.store import BACK, BUY, NEXT, PREVIOUS, State

SPARE = 4  # turns that the expert leaves unused
TURNS = 15  # as in WebShop
_READ = ("features", "description")

Seen = frozenset[tuple[int, str | None]]  # products and tabs that were looked at


def next_action(state: State, seen: Seen, goal: Goal) -> str:
    """The next action of a buyer who has looked at ``seen``."""
    page = store.page_of(state)
    if page.search_bar:
        return f"search[{_query(seen, goal)}]"
    if state.product is None:
        return f"click[{_pick(page, seen, goal)}]"
    if state.tab:
        return f"click[{PREVIOUS}]"
    product = state.product
    if _lacks_something(product, seen, goal):
        return f"click[{PREVIOUS}]"
    if missing := _unread(product, seen, goal):
        return f"click[{missing}]"
    chosen = dict(state.chosen)
    wanted = next((value for name, value in goal.options.items() if chosen.get(name) != value), BUY)
    return f"click[{wanted}]"


def solves(goal: Goal) -> bool:
    """Whether the expert buys something that earns the whole reward with :data:`SPARE` turns left."""
    state, seen = State(), Seen()
    for _ in range(TURNS - SPARE):
        after = store.step(state, next_action(state, seen, goal))
        assert after is not None  # the expert clicks on what is there
        state = after
        seen |= look(state)
        if state.bought:
            assert state.product is not None
            return score(catalogue()[state.product], dict(state.chosen), goal) == 1.0
    return False


def look(state: State) -> Seen:
    """What a visitor in this state is looking at."""
    return Seen() if state.product is None else Seen({(state.product, state.tab)})


def _query(seen: Seen, goal: Goal) -> str:
    """Everything wanted; once something was opened in vain, the next words fewer."""
    opened = len({product for product, _ in seen})
    attributes = list(goal.attributes)
    if opened:
        turn = opened % len(attributes)
        attributes = attributes[turn:] + attributes[:turn]
    words = [goal.product.kind, *attributes, *([] if opened else goal.options.values())]
    return " ".join(words)


def _pick(page: store.Page, seen: Seen, goal: Goal) -> str:
    """The product to open: of the kind, within the price, not known to fail, most wanted attributes in its title."""
    found = []
    for rank, (id, title, price) in enumerate(page.listed):
        if goal.product.kind in title and _cents(price) <= goal.ceiling:
            number = numbers()[id]
            if not _lacks_something(number, seen, goal):
                found.append((-sum(attribute in title for attribute in goal.attributes), rank, id))
    if found:
        return min(found)[2]
    return NEXT if NEXT in page.buttons else BACK


def _lacks_something(number: int, seen: Seen, goal: Goal) -> bool:
    """Whether what was read of a product shows that it will not do."""
    if (number, None) not in seen:
        return False
    product = catalogue()[number]
    if any(value not in product.options.get(name, ()) for name, value in goal.options.items()):
        return True
    if product.cents > goal.ceiling or product.kind != goal.product.kind:
        return True
    return bool(_unmet(number, seen, goal)) and all((number, tab) in seen for tab in _READ)


def _unread(number: int, seen: Seen, goal: Goal) -> str | None:
    """The next tab to read where a wanted attribute was not read yet."""
    if not _unmet(number, seen, goal):
        return None
    return next((tab for tab in _READ if (number, tab) not in seen), None)


def _unmet(number: int, seen: Seen, goal: Goal) -> list[str]:
    """Wanted attributes that nothing read of a product has told."""
    product = catalogue()[number]
    read = [product.title, *(line for tab in _READ if (number, tab) in seen for line in store.tab_lines(product, tab))]
    text = "\n".join(read).lower()
    return [attribute for attribute in goal.attributes if attribute not in text]


def _cents(price: str) -> int:
    return int(price.replace(".", ""))
