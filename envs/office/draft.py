"""A task in the making: what is in the office, what the user says and keeps back, and the calls that do it."""

from __future__ import annotations

import datetime
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agentrl.envs.code.data import NAMES, WORDS
from agentrl.envs.office.database import SCHEMA, Database, Row
from agentrl.types import ToolCall

ME = "me@home.example"
COMPANIES = ("Aldric", "Bellamy", "Corvane", "Delmont", "Everly", "Fenwick", "Garrow", "Hartwell", "Ilford", "Jessop")
DAYS = [str(datetime.date(2026, 3, day)) for day in (*range(2, 7), *range(9, 14))]
HOURS = range(8, 18)
TITLES = ("budget", "design", "hiring", "planning", "review", "sales", "strategy", "training", "travel", "website")
KINDS = ("chair", "desk", "keyboard", "lamp", "monitor", "mug", "notebook", "pen", "phone", "printer")
_CHAT = (
    "Thank you for the {0}, it was a pleasure.",
    "Have you seen my {0} anywhere?",
    "The {0} is in the kitchen, help yourself.",
    "We talked about the {0} for an hour. Never again!",
)


@dataclass
class Draft:
    """``hidden``: words that a question may hold, and what the user then says. ``answer``: what is to be told."""

    rng: random.Random
    tables: dict[str, list[Row]] = field(default_factory=lambda: {table: [] for table in SCHEMA})
    request: str = ""
    hidden: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    answer: str = ""

    def __post_init__(self) -> None:
        rng = self.rng
        surnames = rng.sample(WORDS, 12)
        self._ids = iter(rng.sample(range(100, 1000), 200))
        self._fresh = iter(rng.sample(WORDS, len(WORDS)))
        for first, last in zip(rng.sample(NAMES, 12), surnames, strict=True):
            company = rng.choice(COMPANIES)
            self.tables["contacts"].append(
                {
                    "name": f"{first} {last.title()}",
                    "mail": f"{first}.{last}@{company}.example".lower(),
                    "phone": f"555-{rng.randint(1000, 9999)}",
                    "company": company,
                    "birthday": f"{rng.choice(DAYS)}",
                }
            )
        *people, self.bystander = rng.sample(self.tables["contacts"], 7)
        self._people = iter(people)
        others = [contact for contact in self.tables["contacts"] if contact not in people]
        for kind in KINDS:
            for name in rng.sample(WORDS, 3):
                product = {"name": f"{name} {kind}", "kind": kind, "cents": rng.randint(199, 19_900)}
                self.tables["products"].append({**product, "rating": rng.randint(10, 99)})
        for person in rng.sample(others, 5):
            self.mail(person, rng.choice(_CHAT).format(rng.choice(WORDS)))
        for _ in range(8):
            self.event(rng.choice(DAYS), rng.choice(HOURS), rng.choice(TITLES), rng.choice(others))
        for _ in range(3):
            self.file(f"notes/{self.word()}.txt", " ".join(rng.sample(WORDS, 4)))
        for product in rng.sample(self.tables["products"], 2):
            self.ordered(product, rng.randint(1, 9))

    def people(self, n: int) -> list[Row]:
        """Contacts that nobody asked for before, and who have nothing to do with what is in the office already."""
        return [next(self._people) for _ in range(n)]

    def person(self) -> Row:
        return next(self._people)

    def word(self) -> str:
        """A word that was not given out before."""
        return next(self._fresh)

    def day(self, *others: str) -> str:
        return self.rng.choice([day for day in DAYS if day not in others])

    def number(self) -> int:
        return self.rng.randint(101, 9999)

    def mail(self, sender: Row, body: str, subject: str = "hello") -> Row:
        row = {"id": next(self._ids), "sender": sender["mail"], "recipient": ME, "day": "2026-02-27"}
        return self._add("mails", {**row, "subject": subject, "body": body})

    def event(self, day: str, hour: int, title: str, guest: Row) -> Row:
        """Moved on to the next free hour where there is something already."""
        taken = {(row["day"], row["hour"]) for row in self.tables["events"]}
        while (day, hour) in taken:
            hour = HOURS[(HOURS.index(hour) + 1) % len(HOURS)]
        return self._add(
            "events", {"id": next(self._ids), "day": day, "hour": hour, "title": title, "guest": guest["name"]}
        )

    def file(self, path: str, text: str) -> Row:
        return self._add("files", {"path": path, "text": text})

    def ordered(self, product: Row, quantity: int) -> Row:
        return self._add("orders", {"id": next(self._ids), "product": product["name"], "quantity": quantity})

    def products(self, kind: str) -> list[Row]:
        return [product for product in self.tables["products"] if product["kind"] == kind]

    def events(self, day: str) -> list[Row]:
        return [event for event in self.tables["events"] if event["day"] == day]

    def free_hour(self, day: str) -> int:
        """The first one."""
        return next(hour for hour in HOURS if hour not in {event["hour"] for event in self.events(day)})

    def says(self, request: str) -> None:
        self.request = request

    def keeps_back(self, words: Sequence[str], reply: str, question: str) -> None:
        """What the user tells only when asked; the expert asks."""
        self.hidden.append((tuple(words), reply))
        self.do("ask", question=question)

    def do(self, tool: str, **arguments: Any) -> None:
        self.calls.append(ToolCall(tool, **arguments))

    def looks_up(self, *people: Row) -> None:
        for person in people:
            self.do("find_contact", words=person["name"])

    def finds(self, mail: Row, words: str) -> None:
        self.do("search_mail", words=words)
        self.do("read_mail", id=mail["id"])

    def sends(self, person: Row, body: object) -> None:
        self.do("send_mail", to=person["mail"], subject="as asked", body=str(body))

    def database(self) -> Database:
        made = Database()
        for table, rows in self.tables.items():
            for row in self.rng.sample(rows, len(rows)):
                made.insert(table, row)
        return made

    def _add(self, table: str, row: Row) -> Row:
        self.tables[table].append(row)
        return row
