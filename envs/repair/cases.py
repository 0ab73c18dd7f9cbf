"""Calls of a module's functions to compare it by: each kind is drawn from a generator."""

from __future__ import annotations

import random

from agentrl.envs.code.data import WORDS


def _ranges(r: random.Random) -> list[tuple[int, int]]:
    starts = [r.randint(0, 20) for _ in range(r.randint(2, 5))]
    made = [(low, low + r.randint(1, 7)) for low in starts]
    return [*made, (made[0][1], made[0][1] + r.randint(1, 3))]


def intervals(r: random.Random) -> list[str]:
    return [f"{name}({_ranges(r)})" for name in ("merge_ranges", "find_gaps", "total_length")]


def wrapping(r: random.Random) -> list[str]:
    text = " ".join(r.choices(WORDS, k=r.randint(4, 8)))
    mixed = " ".join(r.choice((w, w.title())) for w in r.choices(WORDS[:3], k=6))
    return [
        f"wrap_words({text!r}, {r.randint(9, 18)})",
        f"shorten_text({text!r}, {r.randint(8, 30)})",
        f"count_words({mixed!r})",
    ]


def account(r: random.Random) -> list[str]:
    entries = [r.randint(-9, 9) for _ in range(r.randint(3, 7))]
    limit = r.randint(0, 6)
    return [
        f"final_balance({[*entries, -sum(entries) - limit]}, {limit})",
        f"add_interest({r.randint(1000, 90000)}, {r.randint(2, 9)}, {r.randint(2, 6)})",
        f"split_bill({r.randint(100, 9999)}, {r.randint(3, 7)})",
    ]


def matrix(r: random.Random) -> list[str]:
    def rows(n: int, m: int) -> list[list[int]]:
        return [[r.randint(-5, 9) for _ in range(m)] for _ in range(n)]

    n, m, k = r.randint(2, 3), r.randint(2, 4), r.randint(2, 3)
    square = r.randint(2, 3)
    return [
        f"transpose_rows({rows(n, m)})",
        f"multiply_rows({rows(n, m)}, {rows(m, k)})",
        f"determinant_of({rows(square, square)})",
    ]


def roman(r: random.Random) -> list[str]:
    def digit(one: str, five: str, ten: str) -> str:
        return r.choice(("", one, one * 2, one * 3, one + five, five, five + one, five + one * 2, one + ten))

    numeral = "M" * r.randint(0, 2) + digit("C", "D", "M") + digit("X", "L", "C") + digit("I", "V", "X")
    return [f"to_roman({r.randint(1, 3999)})", f"to_roman({r.randint(900, 999)})", f"from_roman({numeral!r})"]


def routes(r: random.Random) -> list[str]:
    places = r.sample("ABCDEFGH", 8)
    ring = [(places[i], places[(i + 1) % 6]) for i in range(6)]
    edges = [*ring[: r.randint(4, 6)], (places[6], places[7])]
    r.shuffle(edges)
    ends = r.sample(places, 2)
    near = r.sample(places[:5], 2)
    return [
        f"steps_between({edges}, {ends[0]!r}, {ends[1]!r})",
        f"steps_between({edges}, {near[0]!r}, {near[1]!r})",
        f"islands_of({edges})",
    ]


def likeness(r: random.Random) -> list[str]:
    a, b = r.choice(WORDS), r.choice(WORDS)
    cut = r.randint(1, 3)
    words = [a[:cut] + w for w in r.sample(WORDS, 3)]
    run = "".join(letter * r.randint(1, 3) for letter in r.choices("abc", k=5))
    return [f"edit_distance({a!r}, {b!r})", f"edit_distance({a[cut:]!r}, {a!r})", f"common_prefix({words})",
            f"longest_run({run!r})"]  # fmt: skip


def schedule(r: random.Random) -> list[str]:
    jobs = [(name, r.randint(1, 3), r.randint(1, 5)) for name in r.sample(WORDS, r.randint(4, 6))]
    workers = r.randint(1, 3)
    return [f"order_jobs({jobs})", f"finish_times({jobs}, {workers})",
            f"late_jobs({jobs}, {workers}, {r.randint(2, 9)})"]  # fmt: skip


def dates(r: random.Random) -> list[str]:
    year = r.choice((1900, 2000, 2023, 2024, 2100, 2400, r.randint(1950, 2050)))
    day, month = r.randint(1, 28), r.randint(1, 12)
    return [
        f"is_leap({year})", f"days_in({r.choice((2, 2, 3, month))}, {year})", f"day_of_year({day}, {month}, {year})",
        f"add_days({day}, {month}, {year}, {r.randint(5, 500)})",
    ]  # fmt: skip


def stock(r: random.Random) -> list[str]:
    items = r.sample(WORDS, 5)
    have = {item: r.randint(0, 9) for item in items[:4]}
    more = {item: r.randint(0, 9) for item in items[2:]}
    orders = [(item, r.choice((have.get(item, 1), r.randint(1, 9)))) for item in r.choices(items, k=4)]
    minimum = r.choice(list(have.values())) + r.randint(0, 4)
    return [f"apply_orders({have}, {orders})", f"to_reorder({have}, {minimum}, {r.randint(2, 5)})",
            f"merge_stocks({have}, {more})"]  # fmt: skip


def formula(r: random.Random) -> list[str]:
    def made(depth: int) -> str:
        if depth == 0 or r.random() < 0.2:
            return str(r.randint(1, 40))
        left, sign, right = made(depth - 1), r.choice("+-*"), made(depth - 1)
        return f"({left} {sign} {right})" if r.random() < 0.4 else f"{left} {sign} {right}"

    plain = f"{r.randint(2, 30)} + {r.randint(2, 9)} * {r.randint(2, 9)} - {r.randint(1, 9)}"
    return [f"evaluate({made(2)!r})", f"evaluate({made(3)!r})", f"evaluate({plain!r})"]


def figures(r: random.Random) -> list[str]:
    values = [r.randint(1, 9) for _ in range(r.randint(5, 9))]
    return [f"{name}({values})" for name in ("median_of", "most_frequent", "largest_drop")] + [
        f"moving_sums({values}, {r.randint(2, 4)})"
    ]


def memory(r: random.Random) -> list[str]:
    def steps() -> list[tuple[str, ...] | tuple[str, int]]:
        return [(key,) if r.random() < 0.45 else (key, r.randint(1, 9)) for key in r.choices("abcd", k=9)]

    return [f"replay_store({r.randint(2, 3)}, {steps()})" for _ in range(3)]


def tables(r: random.Random) -> list[str]:
    def field() -> str:
        word = r.choice(WORDS)
        return r.choice((word, f'"{word}, {r.choice(WORDS)}"', f'"a ""{word}"""', ""))

    lines = "\n".join(["what,n", *(f"{field()},{r.choice(('', r.randint(1, 99)))}" for _ in range(3)), "", ""])
    fields = ",".join(field() for _ in range(3))
    return [f"split_line({fields!r})", f"read_table({lines!r})", f"column_total({lines!r}, 'n')"]
