"""The office's state: an SQLite database in memory that can be pickled, and what differs between two of them."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping
from typing import Any

from agentrl.tools import ToolError

Row = dict[str, Any]
SCHEMA = {
    "contacts": "name text, mail text, phone text, company text, birthday text",
    "mails": "id integer primary key, sender text, recipient text, day text, subject text, body text",
    "events": "id integer primary key, day text, hour integer, title text, guest text",
    "files": "path text primary key, text text",
    "products": "name text, kind text, cents integer, rating integer",
    "orders": "id integer primary key, product text, quantity integer",
}
FREE = {"mails": ("body",), "events": ("title",)}  # in one's own words
CHATTER = 25  # words beside those that are wanted
IGNORED = {"mails": ("id", "subject", "day"), "events": ("id",), "orders": ("id",)}


class Database:
    """One office. ``pickle`` keeps all of it, numbers of rows that come next included."""

    def __init__(self, image: bytes | None = None) -> None:
        self._connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        if image is not None:
            self._connection.deserialize(image)
            return
        for table, columns in SCHEMA.items():
            self._connection.execute(f"create table {table} ({columns})")

    def __getstate__(self) -> bytes:
        return self._connection.serialize()

    def __setstate__(self, image: bytes) -> None:
        Database.__init__(self, image)

    def rows(self, query: str, *values: Any) -> list[Row]:
        """The rows that a query gives; whatever was typed comes in as ``values``, never in the query."""
        try:
            return [dict(row) for row in self._connection.execute(query, values)]
        except UnicodeEncodeError:
            raise ToolError("half a character cannot be kept") from None

    def insert(self, table: str, row: Mapping[str, Any]) -> None:
        marks = ", ".join("?" for _ in row)
        self.rows(f"insert into {table} ({', '.join(row)}) values ({marks})", *row.values())

    def table(self, name: str) -> list[Row]:
        return self.rows(f"select * from {name} order by rowid")


Change = tuple[str, bool, Row]  # table, whether the row is new, the row


def changes(before: Database, after: Database) -> list[Change]:
    """The rows that are gone and those that are new; a changed row is both."""
    found: list[Change] = []
    for table in SCHEMA:
        old, new = before.table(table), after.table(table)
        found += [(table, False, row) for row in old if row not in new]
        found += [(table, True, row) for row in new if row not in old]
    return found


def settle(wanted: Iterable[Change], made: Iterable[Change]) -> tuple[list[Change], list[Change]]:
    """What is wanted and was not made, and what was made and is not wanted."""
    missing, left = [], list(made)
    for change in wanted:
        match = next((other for other in left if _same(change, other)), None)
        if match is None:
            missing.append(change)
        else:
            left.remove(match)
    return missing, left


def _same(wanted: Change, made: Change) -> bool:
    table, new, row = wanted
    if (table, new) != made[:2]:
        return False
    free = FREE.get(table, ()) if new else ()
    exact = [column for column in row if column not in (*free, *IGNORED.get(table, ()))]
    if not new and "id" in row:
        exact = ["id"]
    return all(row[column] == made[2][column] for column in exact) and all(
        says(made[2][column], row[column]) for column in free
    )


def says(text: str, wanted: str) -> bool:
    """Whether a text has all words and numbers that are wanted, in any order, and not many others around them."""
    found, needed = words(text), set(words(wanted))
    return needed <= set(found) and len(found) <= len(needed) + CHATTER


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
