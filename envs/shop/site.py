"""The store as a web site: the same state machine, rendered as HTML by a server of this process on a free port.

An address is a state: every link leads to what :func:`agentrl.envs.shop.store.step` makes of a click, and the search
form to what it makes of a search. So the server keeps nothing, and who looks at the address knows the state.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qs, urlencode, urlsplit

from agentrl.envs.pages import PageHandler, PageServer
from agentrl.envs.shop import store
from agentrl.envs.shop.catalogue import catalogue
from agentrl.envs.shop.store import Page, State
from agentrl.once import once_a_process

_STYLE = (
    "body{font:16px sans-serif;margin:16px;max-width:900px} a{margin:2px} .button{border:1px solid;padding:2px 6px}"
)


def address(state: State) -> str:
    """The path and query of a state."""
    told = {"page": state.page, "product": state.product, "tab": state.tab, "bought": int(state.bought) or None}
    fields = [("q", state.query), *told.items(), *((f"o.{name}", value) for name, value in state.chosen)]
    return "/?" + urlencode([(name, str(value)) for name, value in fields if value is not None])


def state_of(url: str) -> State | None:
    """The state of an address; None where it is of no state that a visitor can reach."""
    try:
        fields = {name: values[0] for name, values in parse_qs(urlsplit(url).query, max_num_fields=20).items()}
        product = int(fields["product"]) if "product" in fields else None
        state = State(
            query=fields.get("q"),
            page=int(fields.get("page", 0)),
            product=product,
            tab=fields.get("tab"),
            chosen=tuple(sorted((name[2:], value) for name, value in fields.items() if name.startswith("o."))),
            bought="bought" in fields,
        )
    except ValueError:
        return None
    if not 0 <= state.page < 5 or state.tab not in (None, *store.TABS) or (state.query is None and product is not None):
        return None
    if product is None:
        return None if state.chosen or state.tab or state.bought else state
    if not 0 <= product < len(catalogue()):
        return None
    options = catalogue()[product].options
    return state if all(value in options.get(name, ()) for name, value in state.chosen) else None


def html_of(state: State) -> str:
    """A page in HTML. It tells the same as :func:`agentrl.envs.shop.store.text_of`, line for line."""
    page = store.page_of(state)
    parts = [f"<p>{escape(line)}</p>" for line in page.lines]
    for id, title, price in page.listed:
        parts.append(f"<p>{_link(state, id)} {escape(title)} ${price}</p>")
    for name, values, chosen in page.options:
        links = " ".join(_link(state, value) for value in values)
        parts.append(f"<p>{escape(name)}: {links}" + (f" chosen: {escape(chosen)}</p>" if chosen else "</p>"))
    if page.search_bar:
        parts.append('<form action=/search><input name=words aria-label="words"> <button>search</button></form>')
    parts.append("<p>" + " ".join(_link(state, name, "button") for name in page.buttons) + "</p>")
    return f"<!doctype html><title>{_title(page)}</title><style>{_STYLE}</style>{''.join(parts)}"


def _link(state: State, name: str, kind: str = "") -> str:
    after = store.step(state, f"click[{name}]")
    assert after is not None  # a page shows what can be clicked
    return f'<a class="{kind}" href="{escape(address(after))}">{escape(name)}</a>'


def _title(page: Page) -> str:
    return f"Shop: {page.name}"


class _Handler(PageHandler):
    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/search":
            words = parse_qs(urlsplit(self.path).query).get("words", [""])[0]
            self.answer(303, "", address(store.step(State(), f"search[{words}]") or State()))
        elif path == "/" and (state := state_of(self.path)) is not None:
            self.answer(200, html_of(state))
        else:
            self.answer(404, "<title>Shop</title><p>There is no such page.</p>")


@once_a_process
def shared() -> PageServer:
    """The server of this process."""
    return PageServer(_Handler, "agentrl-shop")
