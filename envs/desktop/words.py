"""Names of files, folders and things."""

from __future__ import annotations

import random

_THINGS = (
    "milk", "bread", "apples", "coffee", "paper", "candles", "soap", "rice", "tea", "pencils", "batteries", "honey",
    "flour", "lemons", "salt", "onions", "matches", "yarn", "nails", "seeds",
)  # fmt: skip
_ADJECTIVES = ("fresh", "dark", "small", "large", "cheap", "good", "white", "green")
FILES = tuple(f"{name}.txt" for name in (
    "list", "notes", "ideas", "plan", "letter", "report", "recipe", "budget", "poem", "diary", "travel", "garden",
    "books", "names", "dates", "prices",
))  # fmt: skip
FOLDERS = ("Old", "Work", "Home", "Music", "School", "Taxes", "Photos", "Club")


def thing(rng: random.Random) -> str:
    return things(rng, 1)[0]


def things(rng: random.Random, n: int) -> list[str]:
    """Different ones, none of which is part of another."""
    return [f"{rng.choice(_ADJECTIVES)} {name}" for name in rng.sample(_THINGS, n)]


def file(rng: random.Random) -> str:
    return rng.choice(FILES)


def files(rng: random.Random, n: int) -> list[str]:
    return rng.sample(FILES, n)


def folders(rng: random.Random, n: int) -> list[str]:
    return rng.sample(FOLDERS, n)
