"""The store as a state machine: pages, what can be clicked on them, and how they read. Knows nothing of goals.

Pages and actions are WebShop's: a search page, result pages of ten, a product with its options and three tabs, and the
end. ``search[words]`` means something where there is a search bar; ``click[name]`` where the page shows that name.
A page is plain facts (:class:`Page`); the text below and the web site in ``site.py`` are two renderings of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from agentrl.envs.shop.catalogue import Product, catalogue, numbers
from agentrl.envs.shop.search import search

PER_PAGE = 10
SEARCH, BACK, PREVIOUS, NEXT, BUY = "search", "back to search", "< prev", "next >", "buy now"
TABS = ("description", "features", "reviews")
_ACTION = re.compile(r"\s*(search|click)\s*\[(.*)\]\s*", re.IGNORECASE | re.DOTALL)
_LONGEST = 500  # characters of an action that are looked at


@dataclass(frozen=True, slots=True)
class State:
    """Where a visitor is. ``chosen`` holds the options of the product in view, sorted by name."""

    query: str | None = None
    page: int = 0
    product: int | None = None
    tab: str | None = None
    chosen: tuple[tuple[str, str], ...] = ()
    bought: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page tells: its name, lines of text, products listed, options, and what can be clicked, in order."""

    name: str  # search | results | product | one of TABS | bought
    lines: tuple[str, ...]
    listed: tuple[tuple[str, str, str], ...]  # id, title, price
    options: tuple[tuple[str, tuple[str, ...], str | None], ...]  # name, values, the chosen one
    buttons: tuple[str, ...]

    @property
    def search_bar(self) -> bool:
        return self.name == SEARCH

    @property
    def clickable(self) -> tuple[str, ...]:
        """Every name that ``click[...]`` takes here."""
        values = (value for _, values, _ in self.options for value in values)
        return (*(id for id, _, _ in self.listed), *values, *self.buttons)


def parse(action: str) -> tuple[str, str] | None:
    """``search[red shoes]`` -> ``("search", "red shoes")``; None for what is no action."""
    match = _ACTION.fullmatch(action[:_LONGEST])
    return (match[1].lower(), " ".join(match[2].lower().split())) if match else None


def step(state: State, action: str) -> State | None:
    """The state after an action, None where it means nothing."""
    parsed = parse(action)
    if parsed is None or state.bought:
        return None
    verb, argument = parsed
    if verb == SEARCH:
        return State(query=argument) if page_of(state).search_bar and argument else None
    return _click(state, argument) if argument in page_of(state).clickable else None


def _click(state: State, name: str) -> State:
    if name == BACK:
        return State()
    if state.product is None:
        if name in (NEXT, PREVIOUS):
            return replace(state, page=state.page + (1 if name == NEXT else -1))
        return replace(state, product=numbers()[name])
    if name == PREVIOUS:
        return replace(state, tab=None) if state.tab else replace(state, product=None, chosen=())
    if name == BUY:
        return replace(state, bought=True)
    if name in TABS:
        return replace(state, tab=name)
    option = next(option for option, values in catalogue()[state.product].options.items() if name in values)
    return replace(state, chosen=tuple(sorted({**dict(state.chosen), option: name}.items())))


@lru_cache(maxsize=1 << 14)
def page_of(state: State) -> Page:
    """What a visitor in this state sees."""
    if state.bought:
        return Page("bought", ("Thank you for shopping with us!",), (), (), ())
    if state.query is None:
        return Page(SEARCH, (), (), (), ())
    if state.product is None:
        return _results(state, len(search(state.query)))
    product = catalogue()[state.product]
    if state.tab:
        return Page(state.tab, tab_lines(product, state.tab), (), (), (PREVIOUS, BACK))
    chosen = dict(state.chosen)
    options = tuple((name, values, chosen.get(name)) for name, values in product.options.items())
    lines = product.title, f"Price: ${product.price}", f"Rating: {product.rating}"
    return Page("product", lines, (), options, (*TABS, BUY, PREVIOUS, BACK))


def tab_lines(product: Product, tab: str) -> tuple[str, ...]:
    """The text of a tab of a product."""
    if tab == "reviews":
        return product.reviews or ("There are no reviews yet.",)
    return (product.description,) if tab == "description" else product.bullets


@lru_cache(maxsize=1 << 14)
def text_of(page: Page) -> str:
    """A page as a small model reads it: a line for each line, ``[name]`` for what can be clicked."""
    lines = [*page.lines]
    lines += [f"[{id}] {title} ${price}" for id, title, price in page.listed]
    for name, values, chosen in page.options:
        lines.append(f"{name}: {' '.join(f'[{value}]' for value in values)}" + (f" chosen: {chosen}" if chosen else ""))
    if page.search_bar:
        lines.append("[search]")
    lines.append(" ".join(f"[{name}]" for name in page.buttons))
    return "\n".join(filter(None, lines))


def _shown(state: State) -> tuple[int, ...]:
    assert state.query is not None
    return search(state.query)[state.page * PER_PAGE : (state.page + 1) * PER_PAGE]


def _results(state: State, total: int) -> Page:
    products = [catalogue()[n] for n in _shown(state)]
    pages = max(1, -(-total // PER_PAGE))
    buttons = (BACK, *((PREVIOUS,) if state.page else ()), *((NEXT,) if state.page + 1 < pages else ()))
    return Page(
        "results",
        (f"Page {state.page + 1} of {pages} ({total} results)",),
        tuple((product.id, product.title, product.price) for product in products),
        (),
        buttons,
    )
