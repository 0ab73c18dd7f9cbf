"""What is asked of a visitor: templates, each with the change it means to the database, or the answer it asks for.

A task is done when the whole database is what the change makes of it: what else was touched counts against it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from agentrl.envs.ids import by_kind
from agentrl.envs.site import data
from agentrl.errors import UserError, unknown
from agentrl.seeds import derive

TRAIN, UNSEEN = range(40), range(40, 50)  # seeds of every template


@dataclass(frozen=True, slots=True)
class Goal:
    """``change``: SQL with its arguments; ``answer``: what ``done`` must be given; where and how the expert does it."""

    text: str
    path: str
    fields: dict[str, str | bool] = field(default_factory=dict)  # label -> text, choice, or checked
    button: str = ""
    change: tuple[str, tuple[Any, ...]] | None = None
    answer: str = ""


TEMPLATES: dict[str, Callable[[sqlite3.Connection, random.Random], Goal]] = {}


def _edit(
    name: str, table: str, column: str, text: str, value: Callable[[random.Random], Any], where: str = "1"
) -> None:
    """A template that sets one field of a row: ``{row}`` and ``{value}`` stand in its text."""
    at = data.TABLES[table]
    shown = next(f for f in at.fields if f.name == column)

    def draw(db: sqlite3.Connection, rng: random.Random) -> Goal:
        rows = db.execute(f"select * from {table} where {where} order by id").fetchall()
        while True:
            row, new = rng.choice(rows), value(rng)
            if row[column] != new:
                break
        given = bool(new) if shown.kind == "check" else f"{new:.2f}" if isinstance(new, float) else str(new)
        return Goal(
            text.format(row=row[at.title], value=given, product=row["product"] if "product" in row.keys() else ""),  # noqa: SIM118
            f"/{table}/{row['id']}",
            {shown.label: given},
            "Save",
            (f"update {table} set {column} = ? where id = ?", (new, row["id"])),
        )

    TEMPLATES[name] = draw


def _remove(name: str, table: str, text: str) -> None:
    def draw(db: sqlite3.Connection, rng: random.Random) -> Goal:
        row = rng.choice(db.execute(f"select * from {table} order by id").fetchall())
        change = f"delete from {table} where id = ?", (row["id"],)
        return Goal(text.format(row=row[data.TABLES[table].title]), f"/{table}/{row['id']}", {}, "Delete", change)

    TEMPLATES[name] = draw


def _make(name: str, table: str, text: str, values: Callable[[random.Random], dict[str, Any]]) -> None:
    labels = {f.name: f.label for f in data.TABLES[table].fields}

    def draw(db: sqlite3.Connection, rng: random.Random) -> Goal:
        new = values(rng)
        kinds = {f.name: f.kind for f in data.TABLES[table].fields}
        fields = {labels[k]: bool(v) if kinds[k] == "check" else f"{v:.2f}" if isinstance(v, float) else str(v)
                  for k, v in new.items()}  # fmt: skip
        whole = {k: 0 if kinds[k] in ("check", "number") else "" for k in labels} | new
        marks = ", ".join("?" * len(whole))
        change = f"insert into {table} ({', '.join(whole)}) values ({marks})", tuple(whole.values())
        return Goal(text.format(**fields | new), f"/{table}/new", fields, "Create", change)

    TEMPLATES[name] = draw


def _ask(name: str, text: str, rows: str, path: str, answer: str) -> None:
    """A template with a question: ``rows`` draws a row, ``answer`` names its column."""

    def draw(db: sqlite3.Connection, rng: random.Random) -> Goal:
        row = rng.choice(db.execute(rows).fetchall())
        value = row[answer]
        told = f"{value:.2f}" if isinstance(value, float) else str(value)
        return Goal(text.format(**dict(row)), path.format(**dict(row)), answer=told)

    TEMPLATES[name] = draw


def _on_post(name: str, text: str, button: str, sql: str) -> None:
    def draw(db: sqlite3.Connection, rng: random.Random) -> Goal:
        rows = "select posts.*, topics.title from posts join topics on topics.id = topic order by posts.id"
        post = rng.choice(db.execute(rows).fetchall())
        told = text.format(author=post["author"], title=post["title"])
        return Goal(told, f"/topics/{post['topic']}", {}, f"{button} {post['author']}", (sql, (post["id"],)))

    TEMPLATES[name] = draw


def _half(rng: random.Random) -> float:
    return rng.randint(2, 300) + 0.5


def _code(rng: random.Random) -> str:
    return "".join(rng.choices("ABCDEFGHKLMNPRST", k=3)) + str(rng.randint(100, 999))


_edit("product-price", "products", "price", "Set the price of the product {row} to {value}.", _half)
_edit("product-stock", "products", "stock", "Set the stock of {row} to {value}.", lambda rng: rng.randint(100, 500))
_edit("product-name", "products", "name", "Rename the product {row} to {value}.", lambda rng: f"item {_code(rng)}")
_edit("product-category", "products", "category", "Move the product {row} to the category {value}.",
      lambda rng: rng.choice(data.CATEGORIES))  # fmt: skip
_edit("product-hide", "products", "visible", "Hide the product {row}: it must not be visible.", lambda _: 0, "visible")
_edit("product-show", "products", "visible", "Make the product {row} visible.", lambda _: 1, "not visible")
_edit("order-ship", "orders", "status", "{row} was shipped. Set its status.", lambda _: "shipped", "status = 'packed'")
_edit("order-cancel", "orders", "status", "Cancel {row}: set its status to cancelled.", lambda _: "cancelled",
      "status = 'open'")  # fmt: skip
_edit("order-refund", "orders", "status", "Set the status of {row} to refunded.", lambda _: "refunded",
      "status = 'delivered'")  # fmt: skip
_edit("order-tracking", "orders", "tracking", "Enter the tracking number {value} for {row}.", _code)
_edit("order-note", "orders", "note", 'Put the note "{value}" on {row}.', lambda rng: rng.choice(data.PHRASES))
_edit("customer-email", "customers", "email", "Change the email of the customer {row} to {value}.",
      lambda rng: f"{_code(rng).lower()}@example.org")  # fmt: skip
_edit("customer-block", "customers", "blocked", "Block the customer {row}.", lambda _: 1, "not blocked")
_edit("customer-unblock", "customers", "blocked", "The customer {row} may buy again: unblock the account.", lambda _: 0,
      "blocked")  # fmt: skip
_edit("review-approve", "reviews", "approved", "Approve {row}, which is about {product}.", lambda _: 1, "not approved")
_edit("review-withdraw", "reviews", "approved", "Take back the approval of {row}.", lambda _: 0, "approved")
_edit(
    "coupon-percent",
    "coupons",
    "percent",
    "The coupon {row} gives {value} percent now.",
    lambda rng: rng.randint(21, 60),
)
_edit("coupon-stop", "coupons", "active", "Stop the coupon {row}: it is not active any more.", lambda _: 0, "active")
_edit("topic-pin", "topics", "pinned", 'Pin the topic "{row}".', lambda _: 1, "not pinned")
_edit("topic-lock", "topics", "locked", 'Lock the topic "{row}".', lambda _: 1, "not locked")
_edit("topic-unlock", "topics", "locked", 'Open the locked topic "{row}" again.', lambda _: 0, "locked")
_edit("topic-move", "topics", "section", 'Move the topic "{row}" to the section {value}.',
      lambda rng: rng.choice(data.SECTIONS))  # fmt: skip
_edit("topic-title", "topics", "title", 'Change the title of the topic "{row}" to "{value}".',
      lambda rng: f"{rng.choice(data.SUBJECTS)} ({_code(rng)})")  # fmt: skip
_remove("product-delete", "products", "Delete the product {row}.")
_remove("review-delete", "reviews", "Delete {row}.")
_remove("coupon-delete", "coupons", "Delete the coupon {row}.")
_make("product-new", "products", 
      "Add the product {name} in the category {category}: price {Price}, stock {stock}, visible.",
      lambda rng: {"name": f"item {_code(rng)}", "category": rng.choice(data.CATEGORIES), "price": _half(rng),
                   "stock": rng.randint(1, 99), "visible": 1})  # fmt: skip
_make("coupon-new", "coupons", "Make an active coupon {code} of {percent} percent.",
      lambda rng: {"code": _code(rng), "percent": rng.randint(5, 50), "active": 1})  # fmt: skip
_make("topic-new", "topics", 'Start a topic "{title}" in the section {section}.',
      lambda rng: {"title": f"{rng.choice(data.SUBJECTS)} ({_code(rng)})",
                   "section": rng.choice(data.SECTIONS)})  # fmt: skip
_on_post("post-like", 'Like what {author} wrote in the topic "{title}".', "Like",
         "update posts set likes = likes + 1 where id = ?")  # fmt: skip
_on_post(
    "post-delete", 'Delete what {author} wrote in the topic "{title}".', "Delete", "delete from posts where id = ?"
)
_ask(
    "ask-total", "What is the total of {name}? Answer with the amount.", "select * from orders", "/orders/{id}", "total"
)
_ask("ask-email", "What is the email of the customer {name}?", "select * from customers", "/customers/{id}", "email")
_ask("ask-stock", "How many pieces of the product {name} are in stock?", "select * from products", "/products/{id}",
     "stock")  # fmt: skip
_ask(
    "ask-customer", "Who ordered {name}? Answer with the full name.", "select * from orders", "/orders/{id}", "customer"
)


def splits() -> dict[str, list[str]]:
    """Task ids: template and seed."""
    return by_kind(TEMPLATES, train=TRAIN, unseen=UNSEEN)


@lru_cache(maxsize=4096)
def goal_of(task: str) -> Goal:
    """The goal of a task. Raises UserError for an unknown one."""
    template, _, seed = str(task).partition("/")
    if template not in TEMPLATES:
        raise unknown("template of Site", template, TEMPLATES)
    if not (seed.isascii() and seed.isdecimal() and int(seed) < UNSEEN.stop):
        raise UserError(f"unknown task {task!r} of Site; a task is TEMPLATE/SEED, as order-ship/0")
    return TEMPLATES[template](data.fresh(), random.Random(derive("site task", task)))


def wanted(goal: Goal) -> dict[str, list[tuple[Any, ...]]]:
    """The contents of the database when the task is done and nothing else."""
    db = data.fresh()
    if goal.change is not None:
        db.execute(*goal.change)
    return data.contents(db)
