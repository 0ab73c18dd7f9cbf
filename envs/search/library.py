"""The documents of a world, one about each thing in it, and the indexes they are found in."""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from agentrl.envs.search.bm25 import Index, words
from agentrl.envs.search.world import world
from agentrl.seeds import derive

INDEX_OF = {
    "person": "people", "company": "companies", "town": "places", "river": "places", "book": "books",
    "school": "schools",
}  # fmt: skip
SAID: dict[str, dict[str, tuple[str, ...]]] = {
    "person": {
        "born": ("$x was born in $v.", "The year of birth of $x is $v."),
        "birthplace": ("The family lived in $v then.", "$v is the birthplace.", "A child of $v."),
        "school": ("Studied at $v.", "Went to $v."),
        "employer": ("Worked for $v.", "Long employed by $v."),
        "spouse": ("Married to $v.", "Shares a home with $v, by marriage."),
    },
    "company": {
        "founder": ("$x was founded by $v.", "$v founded $x."),
        "founded": ("That was in $v.", "Its first year was $v."),
        "town": ("It has its seat in $v.", "The head office is in $v."),
        "product": ("It makes $v.", "It is known for its $v."),
        "supplier": ("Its parts come from $v.", "It buys from $v."),
    },
    "town": {
        "river": ("$x lies on the $v.", "The $v flows through $x."),
        "people": ("It has $v inhabitants.", "$v people live there."),
        "mayor": ("The mayor is $v.", "$v is its mayor."),
        "twin": ("Its twin town is $v.", "It is twinned with $v."),
    },
    "river": {
        "length": ("The $x is $v kilometres long.", "$v kilometres is the length of the $x."),
        "end": ("It reaches the sea at $v.", "Its mouth is at $v."),
    },
    "book": {
        "author": ("$x was written by $v.", "$v is the author of $x."),
        "year": ("It appeared in $v.", "The first edition is of $v."),
        "publisher": ("$v published it.", "The publisher is $v."),
        "pages": ("It has $v pages.", "One reads $v pages."),
        "setting": ("The story takes place in $v.", "It is set in $v."),
    },
    "school": {
        "founded": ("$x was founded in $v.", "$x dates from $v."),
        "town": ("It stands in $v.", "Its buildings are in $v."),
        "rector": ("The rector is $v.", "$v leads it."),
    },
}


@dataclass(frozen=True, slots=True)
class Library:
    """``sentences`` and ``titles`` by document id; ``ids``: title -> document id; ``indexes`` by name."""

    sentences: dict[str, list[str]]
    titles: dict[str, str]
    ids: dict[str, str]
    indexes: dict[str, Index]

    def hits(self, index: str, query: str, k: int) -> str:
        """A line a document: id, title, and the sentence that has most words of the query."""
        wanted = set(words(query))
        lines = []
        for id in self.indexes[index].search(query, k):
            best = max(self.sentences[id], key=lambda sentence: len(wanted & set(words(sentence))))
            lines.append(f"{id} {self.titles[id]}: {best}")
        return "\n".join(lines) or "nothing found"


@functools.lru_cache(maxsize=64)
def library(number: int) -> Library:
    """The library of the world of that number."""
    made = world(number)
    rng = random.Random(derive("search library", number))
    sentences: dict[str, list[str]] = {}
    ids: dict[str, str] = {}
    for kind, names in made.names.items():
        for i, name in enumerate(names):
            ids[name] = f"{kind[0]}{i + 1}"
            said = [
                rng.choice(forms).replace("$x", name).replace("$v", str(made.facts[name][attribute]))
                for attribute, forms in SAID[kind].items()
                if attribute in made.facts[name]
            ]
            sentences[ids[name]] = [said[0], *rng.sample(said[1:], len(said) - 1)]
    titles = {id: name for name, id in ids.items()}
    indexes = {
        index: Index(
            {id: " ".join([name, *sentences[id]]) for name, id in ids.items() if INDEX_OF[made.kinds[name]] == index}
        )
        for index in dict.fromkeys(INDEX_OF.values())
    }
    return Library(sentences, titles, ids, indexes)
