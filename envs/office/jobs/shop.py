"""Jobs about the shop. Each function writes one kind of task: a program of its own for the expert."""

from __future__ import annotations

from agentrl.envs.office.database import Row
from agentrl.envs.office.draft import HOURS, KINDS, Draft


def _cheapest(products: list[Row]) -> Row:
    return min(products, key=lambda product: (product["cents"], product["name"]))


def _best(products: list[Row]) -> Row:
    return max(products, key=lambda product: (product["rating"], product["name"]))


def order_cheapest(d: Draft) -> None:
    kind, quantity = d.rng.choice(KINDS), d.rng.randint(11, 99)
    d.says(f"Order the cheapest {kind}. Ask me how many.")
    d.keeps_back(("many", "number", "quantity"), f"{quantity} of them.", "How many?")
    d.do("search_shop", words=kind)
    d.do("order", product=_cheapest(d.products(kind))["name"], quantity=quantity)


def order_best_within(d: Draft) -> None:
    kind = d.rng.choice(KINDS)
    by_price = sorted(d.products(kind), key=lambda product: int(product["cents"]))
    limit = by_price[1]["cents"]
    quantity = d.rng.randint(11, 99)
    d.says(f"Order {quantity} of the best rated {kind} within my budget. Ask me what I would pay for one.")
    d.keeps_back(("pay", "budget", "price", "much"), f"At most {limit} cents.", "How much would you pay for one?")
    d.do("search_shop", words=kind)
    d.do("order", product=_best(by_price[:2])["name"], quantity=quantity)


def cancel_order(d: Draft) -> None:
    product = d.rng.choice(d.tables["products"])
    placed = d.ordered(product, d.rng.randint(11, 99))
    d.says(f"Cancel my order of {placed['quantity']} pieces of {placed['product']}.")
    d.do("list_orders")
    d.do("cancel_order", id=placed["id"])


def from_list(d: Draft) -> None:
    chosen = d.rng.sample(d.tables["products"], 2)
    quantities = [d.rng.randint(11, 99) for _ in chosen]
    lines = [f"{quantity} {product['name']}" for quantity, product in zip(quantities, chosen, strict=True)]
    file = d.file(f"{d.word()}/list.txt", "\n".join(lines))
    d.says(f"Order everything on the list in {file['path']}.")
    d.do("read_file", path=file["path"])
    for quantity, product in zip(quantities, chosen, strict=True):
        d.do("order", product=product["name"], quantity=quantity)


def from_mail(d: Draft) -> None:
    who, product, quantity = d.person(), d.rng.choice(d.tables["products"]), d.rng.randint(11, 99)
    mail = d.mail(who, f"Could you get us {quantity} pieces of {product['name']}?", "request")
    d.says(f"Order what {who['name']} asks for by mail.")
    d.finds(mail, who["mail"])
    d.do("order", product=product["name"], quantity=quantity)


def spent(d: Draft) -> None:
    product, quantity = d.rng.choice(d.tables["products"]), d.rng.randint(11, 99)
    d.ordered(product, quantity)
    d.says(f"How many cents does my order of {quantity} pieces of {product['name']} come to?")
    d.do("search_shop", words=product["name"])
    d.answer = str(int(product["cents"]) * quantity)


def again(d: Draft) -> None:
    product, quantity = d.rng.choice(d.tables["products"]), d.rng.randint(11, 99)
    d.ordered(product, quantity)
    d.says(f"Order {product['name']} once more, as many as in my order of more than ten.")
    d.do("list_orders")
    d.do("order", product=product["name"], quantity=quantity)


def change_quantity(d: Draft) -> None:
    product, quantity = d.rng.choice(d.tables["products"]), d.rng.randint(11, 99)
    placed = d.ordered(product, 10)
    d.says(f"I need another number of {product['name']}: cancel the order of 10 and order anew. Ask me how many.")
    d.keeps_back(("many", "number", "quantity"), f"{quantity} of them.", "How many?")
    d.do("list_orders")
    d.do("cancel_order", id=placed["id"])
    d.do("order", product=product["name"], quantity=quantity)


def replace_cheaper(d: Draft) -> None:
    kind, quantity = d.rng.choice(KINDS), d.rng.randint(11, 99)
    dearest = max(d.products(kind), key=lambda product: (product["cents"], product["name"]))
    placed = d.ordered(dearest, quantity)
    d.says(f"Cancel my order of {quantity} pieces of {dearest['name']}, and order as many of the cheapest {kind}.")
    d.do("search_shop", words=kind)
    d.do("list_orders")
    d.do("cancel_order", id=placed["id"])
    d.do("order", product=_cheapest(d.products(kind))["name"], quantity=quantity)


def gift(d: Draft) -> None:
    who, day, title, kind = d.person(), d.day(), d.word(), d.rng.choice(KINDS)
    d.event(day, d.rng.choice(HOURS), title, who)
    best = _best(d.products(kind))
    d.says(
        f"Order one piece of the best rated {kind} for the guest of the meeting called {title} on {day}, and mail the "
        "guest its name."
    )
    d.do("list_events", day=day)
    d.do("search_shop", words=kind)
    d.do("order", product=best["name"], quantity=1)
    d.looks_up(who)
    d.sends(who, best["name"])


def one_each(d: Draft) -> None:
    kinds = d.rng.sample(KINDS, 2)
    quantity = d.rng.randint(11, 99)
    d.says(f"Order the best rated {kinds[0]} and the cheapest {kinds[1]}, {quantity} of each.")
    for kind, choose in zip(kinds, (_best, _cheapest), strict=True):
        d.do("search_shop", words=kind)
        d.do("order", product=choose(d.products(kind))["name"], quantity=quantity)
