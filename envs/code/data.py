"""The data files: each kind is a function of a random generator, the same for the same seed on every machine."""

from __future__ import annotations

import csv
import datetime
import io
import json
import random
from collections.abc import Callable, Sequence
from typing import Any

REGIONS = ("north", "south", "east", "west", "centre")
PRODUCTS = ("lamp", "chair", "desk", "shelf", "rug", "clock", "mirror", "vase", "stool", "frame")
SERVICES = ("auth", "cart", "mail", "search", "store")
MESSAGES = ("timeout", "refused", "no space", "bad token", "not found", "too large")
_NAMES = (
    "Ada Ben Cem Dia Eva Fay Gus Hal Ida Jon Kim Lea Max Nia Oda Pam Quin Rosa Sam Tia Uma Vera Wim Xenia Yara "
    "Zoe Abel Bela Cora Dov Elif Finn Gita Hugo Inga Joao Kaya Lars Mira Noor "
)
CITIES = ("Arlen", "Borough", "Corin", "Dunmore", "Elstow", "Farley")
SUBJECTS = ("maths", "music", "physics", "sport")
_WORDS = (
    "amber anchor apple arrow autumn basket beacon bridge candle canyon castle cedar cherry circle clover cloud "
    "coral cotton dawn desert dragon drum echo ember falcon feather fern forest garden glacier granite harbour "
    "hazel hollow island ivory jasmine juniper kettle lantern lemon level linen madam maple marble meadow mirror "
    "mountain nectar noon north ocean olive orchid otter pebble pepper pillow planet quartz quiet radar rain "
    "refer ribbon river saddle salt shadow silver spring stone storm summer thistle thunder tiger timber tulip "
    "valley velvet violet walnut water willow winter wonder yellow zephyr "
)
NAMES, WORDS = _NAMES.split(), _WORDS.split()
Made = tuple[dict[str, bytes], Any]  # the files, and what parameters of a question are drawn from


def orders(rng: random.Random) -> Made:
    """``orders.csv``: order, day, region, product, quantity, cents (the price of one)."""
    start = datetime.date(2025, 1, 1)
    rows: list[dict[str, Any]] = [
        {
            "order": 1000 + i,
            "day": str(start + datetime.timedelta(days=rng.randrange(240))),
            "region": rng.choice(REGIONS),
            "product": rng.choice(PRODUCTS),
            "quantity": rng.randint(1, 12),
            "cents": rng.randint(150, 9900),
        }
        for i in range(rng.randrange(151, 300, 2))
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return {"orders.csv": text.getvalue().encode()}, rows


def log(rng: random.Random) -> Made:
    """``service.log``: time, level, service, request, milliseconds, and a message where the level is ERROR."""
    now, lines, request = datetime.datetime(2025, 3, 1, 8), [], 100
    running: list[tuple[int, str]] = []
    for _ in range(rng.randint(250, 400)):
        now += datetime.timedelta(seconds=rng.choice((1, 1, 2, 3, 5, 8, rng.randint(9, 90))))
        if running and rng.random() < 0.48:
            number, service = running.pop(rng.randrange(len(running)))
            level = "ERROR" if rng.random() < 0.3 else "DONE"
            told = f" {rng.choice(MESSAGES)}" if level == "ERROR" else ""
            lines.append(f"{now.isoformat()} {level} {service} request={number} ms={rng.randint(3, 2500)}{told}")
        else:
            request += 1
            running.append((request, rng.choice(SERVICES)))
            lines.append(f"{now.isoformat()} START {running[-1][1]} request={request}")
    return {"service.log": "\n".join(lines).encode() + b"\n"}, lines


def people(rng: random.Random) -> Made:
    """``people.json``: a list of name, born (a date), city, friends (names) and scores (a number a subject)."""
    names = rng.sample(NAMES, rng.randint(24, 36))
    made = [
        {
            "name": name,
            "born": str(datetime.date(1950, 1, 1) + datetime.timedelta(days=rng.randrange(20_000))),
            "city": rng.choice(CITIES),
            "friends": sorted(rng.sample([n for n in names if n != name], rng.randint(2, 5))),
            "scores": {subject: rng.randint(20, 99) for subject in SUBJECTS},
        }
        for name in names
    ]
    return {"people.json": json.dumps(made, indent=1).encode()}, made


def text(rng: random.Random) -> Made:
    """``notes.txt``: lines of words, some of them much more frequent than others."""
    words = rng.sample(WORDS, 60)
    weights = [1 / (i + 3) for i in range(60)]
    lines = [" ".join(rng.choices(words, weights, k=rng.randint(4, 11))) for _ in range(rng.randint(60, 110))]
    return {"notes.txt": "\n".join(lines).encode() + b"\n"}, lines


def digits(rng: random.Random) -> Made:
    """``digits.txt``: a square of digits."""
    n = rng.randint(12, 20)
    rows = ["".join(str(rng.randint(1, 9)) for _ in range(n)) for _ in range(n)]
    return {"digits.txt": "\n".join(rows).encode() + b"\n"}, rows


def maze(rng: random.Random) -> Made:
    """``map.txt``: ``#`` and ``.``, with an S and an E that a path over ``.`` joins."""
    n = rng.randint(14, 22)
    cells = [["#" if rng.random() < 0.32 else "." for _ in range(n)] for _ in range(n)]
    x = y = 0
    while (x, y) != (n - 1, n - 1):  # a path, so that there is one
        cells[y][x] = "."
        x, y = (x + 1, y) if y == n - 1 or (x < n - 1 and rng.random() < 0.5) else (x, y + 1)
    cells[0][0], cells[-1][-1] = "S", "E"
    rows = ["".join(row) for row in cells]
    return {"map.txt": "\n".join(rows).encode() + b"\n"}, rows


def roads(rng: random.Random) -> Made:
    """``roads.csv``: from, to, km; roads go both ways, and every place can be reached."""
    places = [f"P{i:02}" for i in range(rng.randint(16, 26))]
    found = {(a, rng.choice(places[:i])): rng.randint(3, 60) for i, a in enumerate(places) if i}
    for _ in range(len(places)):
        a, b = rng.sample(places, 2)
        if (a, b) not in found and (b, a) not in found:
            found[a, b] = rng.randint(3, 60)
    rows = [f"{a},{b},{km}" for (a, b), km in found.items()]
    rng.shuffle(rows)
    return {"roads.csv": ("from,to,km\n" + "\n".join(rows)).encode() + b"\n"}, places


def numbers(rng: random.Random) -> Made:
    """``numbers.txt``: a whole number a line."""
    made = [rng.randint(1, 5000) for _ in range(rng.randint(120, 260))]
    return {"numbers.txt": "\n".join(map(str, made)).encode() + b"\n"}, made


def library(rng: random.Random) -> Made:
    """``books.csv`` (book, author, pages) and ``loans.csv`` (book, reader, days)."""
    books = [(f"B{i:03}", rng.choice(NAMES), rng.randint(60, 900)) for i in range(rng.randint(40, 70))]
    loans = [(rng.choice(books)[0], rng.choice(NAMES[:15]), rng.randint(1, 60)) for _ in range(rng.randint(50, 110))]
    files = {"books.csv": ("book,author,pages", books), "loans.csv": ("book,reader,days", loans)}
    return {name: _table(head, rows) for name, (head, rows) in files.items()}, loans


def _table(head: str, rows: Sequence[Sequence[Any]]) -> bytes:
    return "\n".join([head, *(",".join(map(str, row)) for row in rows)]).encode() + b"\n"


KINDS: dict[str, Callable[[random.Random], Made]] = {
    f.__name__: f for f in (orders, log, people, text, digits, maze, roads, numbers, library)
}
