"""The database that every episode begins with: the same rows everywhere, generated from one seed."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentrl.seeds import derive

SECTIONS = ("General", "Help", "Offers", "Events", "Feedback")
CATEGORIES = ("Garden", "Kitchen", "Office", "Outdoor", "Toys")
STATUSES = ("open", "packed", "shipped", "delivered", "cancelled", "refunded")
FIRST = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gwen", "Hugo", "Iris", "Jan", "Kira", "Leo")
LAST = ("Adler", "Brandt", "Cole", "Dietz", "Ebert", "Funk", "Gross", "Hale")
THINGS = ("lamp", "kettle", "rake", "stapler", "tent", "puzzle", "pan", "shelf", "hose", "mug", "kite", "desk")
LOOKS = ("red", "small", "steel", "folding", "classic", "quiet", "bright", "sturdy", "light", "round")
PHRASES = ("Thanks, that helped.", "I have the same question.", "Mine arrived broken.", "Works well for me.",
           "Has anybody tried this?", "It took two weeks.", "I would not buy it again.", "See you there.",
           "The manual says otherwise.", "Any news on this?")  # fmt: skip
SUBJECTS = ("Where is my parcel", "Best way to clean it", "Meeting in spring", "Missing screws", "New opening hours",
            "Which size fits", "Lost password", "Summer sale", "Broken handle", "Idea for the shop")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A column that a form shows. ``kind``: text, number, check, or the choices of a list."""

    name: str
    label: str
    kind: str | tuple[str, ...] = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """What the application knows of a table: its column to list by, its form, and what can be made and deleted."""

    name: str
    title: str  # column that names a row
    fields: tuple[Field, ...]
    columns: tuple[str, ...]  # shown in the list
    new: bool = False
    delete: bool = False


TABLES = {
    table.name: table
    for table in (
        Table("topics", "title", (Field("title", "Title"), Field("section", "Section", SECTIONS),
              Field("pinned", "Pinned", "check"), Field("locked", "Locked", "check")), ("section", "posts"), new=True),
        Table("products", "name", (Field("name", "Name"), Field("category", "Category", CATEGORIES),
              Field("price", "Price", "number"), Field("stock", "Stock", "number"),
              Field("visible", "Visible", "check")),
              ("category", "price", "stock"), new=True, delete=True),
        Table("orders", "name", (Field("status", "Status", STATUSES), Field("tracking", "Tracking"),
              Field("note", "Note")), ("customer", "total", "status")),
        Table("customers", "name", (Field("name", "Name"), Field("email", "Email"),
              Field("blocked", "Blocked", "check")), ("email",)),
        Table("reviews", "name", (Field("text", "Text"), Field("approved", "Approved", "check")),
              ("product", "stars", "approved"), delete=True),
        Table("coupons", "code", (Field("code", "Code"), Field("percent", "Percent", "number"),
              Field("active", "Active", "check")), ("percent", "active"), new=True, delete=True),
    )
}  # fmt: skip

_SCHEMA = """
create table topics (id integer primary key, title text, section text, pinned integer default 0,
                     locked integer default 0);
create table posts (id integer primary key, topic integer, author text, text text, likes integer default 0);
create table products (id integer primary key, name text, category text, price real, stock integer default 0,
                       visible integer default 0);
create table orders (id integer primary key, name text, customer text, total real, status text, tracking text,
                     note text);
create table customers (id integer primary key, name text, email text, blocked integer default 0);
create table reviews (id integer primary key, name text, product text, stars integer, text text,
                      approved integer default 0);
create table coupons (id integer primary key, code text, percent integer, active integer default 0);
"""
NAMES = ("topics", "posts", "products", "orders", "customers", "reviews", "coupons")


@cache
def baseline() -> bytes:
    """The database as a file in memory."""
    rng = random.Random(derive("site"))
    db = sqlite3.connect(":memory:")
    db.executescript(_SCHEMA)
    people = [f"{first} {last}" for first in FIRST for last in LAST]
    people = rng.sample(people, 40)
    things = rng.sample([f"{look} {thing}" for look in LOOKS for thing in THINGS], 60)

    def add(table: str, *row: Any) -> None:
        db.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)

    for n, name in enumerate(people, 1):
        add("customers", n, name, f"{name.lower().replace(' ', '.')}@example.com", int(rng.random() < 0.2))
    for n, name in enumerate(things, 1):
        price, stock = rng.randint(4, 400) / 2, rng.randint(0, 90)
        add("products", n, name, rng.choice(CATEGORIES), price, stock, int(rng.random() < 0.8))
    for n in range(1, 61):
        total = rng.randint(10, 900) / 2
        add("orders", n, f"Order {1000 + n}", rng.choice(people), total, rng.choice(STATUSES), "", "")
    for n in range(1, 41):
        stars, text = rng.randint(1, 5), rng.choice(PHRASES)
        add("reviews", n, f"Review {n}", rng.choice(things), stars, text, int(rng.random() < 0.5))
    for n in range(1, 13):
        add("coupons", n, f"{rng.choice(THINGS).upper()}{n}", rng.choice((5, 10, 15, 20)), int(rng.random() < 0.5))
    titles = rng.sample([f"{subject}: {thing}" for subject in SUBJECTS for thing in THINGS], 30)
    for n, title in enumerate(titles, 1):
        add("topics", n, title, rng.choice(SECTIONS), int(rng.random() < 0.2), int(rng.random() < 0.2))
        for author in rng.sample(people, rng.randint(1, 5)):
            db.execute("insert into posts (topic, author, text, likes) values (?, ?, ?, ?)",
                       (n, author, rng.choice(PHRASES), rng.randint(0, 9)))  # fmt: skip
    db.commit()
    return db.serialize()


def fresh() -> sqlite3.Connection:
    """A database of one's own in the state that every episode begins with."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.deserialize(baseline())
    db.row_factory = sqlite3.Row
    return db


def contents(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table: what a task is judged by."""
    return {name: [tuple(row) for row in db.execute(f"select * from {name} order by id")] for name in NAMES}
