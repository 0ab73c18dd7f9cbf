"""The questions: each template is a sentence and the path through the documents that answers it.

A path begins at something that the question names, of the kind before the colon, and goes on word by word:

    spouse               read the document, go to what it says there
    <book.author         search the books for the name, read those that have it as author
    max:year min:year    of those, the one with the largest (smallest) number; sum:pages adds them up

Two paths joined by ``-`` or ``+`` end in numbers, whose distance or sum is the answer.
"""

from __future__ import annotations

import functools
import random
import re
from dataclasses import dataclass, field
from string import Template

from agentrl.envs.search.library import INDEX_OF, library
from agentrl.envs.search.world import Value, world
from agentrl.seeds import derive
from agentrl.types import ToolCall

HITS = 5
TEMPLATES = (
    ("In which town was the spouse of $x born?", "person: spouse birthplace"),
    ("For which company did the spouse of $x work?", "person: spouse employer"),
    ("Where did the spouse of $x go to school?", "person: spouse school"),
    ("On which river lies the town where the spouse of $x was born?", "person: spouse birthplace river"),
    ("Who founded the company that $x worked for?", "person: employer founder"),
    ("Where was the founder of the company that $x worked for born?", "person: employer founder birthplace"),
    ("Who is the mayor of the town where the company that $x worked for has its seat?", "person: employer town mayor"),
    ("Who is the mayor of the town where $x was born?", "person: birthplace mayor"),
    ("Who is the mayor of the twin town of the town where $x was born?", "person: birthplace twin mayor"),
    ("At which town does the river that $x was born on reach the sea?", "person: birthplace river end"),
    ("Who leads the school that $x went to?", "person: school rector"),
    ("What is the twin town of the town where $x went to school?", "person: school town twin"),
    ("In which year was the school of $x founded?", "person: school founded"),
    ("Where was the author of $x born?", "book: author birthplace"),
    ("To whom is the author of $x married?", "book: author spouse"),
    ("In which year was the school that the author of $x went to founded?", "book: author school founded"),
    ("Who founded the publisher of $x?", "book: publisher founder"),
    ("On which river does the publisher of $x have its seat?", "book: publisher town river"),
    ("Who is the mayor of the town where $x is set?", "book: setting mayor"),
    ("How many people live in the twin town of the town where $x is set?", "book: setting twin people"),
    ("What does the company that the author of $x worked for make?", "book: author employer product"),
    ("Who founded the company that $x gets its parts from?", "company: supplier founder"),
    ("In which town is the supplier of the supplier of $x?", "company: supplier supplier town"),
    ("To whom is the founder of $x married?", "company: founder spouse"),
    ("How long is the river on which the founder of $x was born, in kilometres?",
     "company: founder birthplace river length"),
    ("To whom is the mayor of the twin town of $x married?", "town: twin mayor spouse"),
    ("Which school did the mayor of the town at the mouth of the $x go to?", "river: end mayor school"),
    ("What is the twin town of the town at the mouth of the $x?", "river: end twin"),
    ("Where was the rector of $x born?", "school: rector birthplace"),
    ("At which town does the river that $x stands on reach the sea?", "school: town river end"),
    ("Who published the latest book of $x?", "person: <book.author max:year publisher"),
    ("Where is the shortest book of $x set?", "person: <book.author min:pages setting"),
    ("Which company employed the eldest of those born in $x?", "town: <person.birthplace min:born employer"),
    ("Who wrote the longest of the books that are set in $x?", "town: <book.setting max:pages author"),
    ("Who wrote the earliest of the books that $x published?", "company: <book.publisher min:year author"),
    ("How many pages do the books of $x have together?", "person: <book.author sum:pages"),
    ("How many years lie between the births of $x and of the author of $y?", "person: born - book: author born"),
    ("How many pages do $x and $y have together?", "book: pages + book: pages"),
    ("How many people live in $x and in the twin town of $y together?", "town: people + town: twin people"),
    ("By how many kilometres do the river on which $x was born and the river on which $y is set differ?",
     "person: birthplace river length - book: setting river length"),
    ("In which town is the supplier of the company that $x founded?", "person: <company.founder supplier town"),
    ("Who is the mayor of the twin town of the town that $x is mayor of?", "person: <town.mayor twin mayor"),
    ("How many people live in the town of the school that $x leads?", "person: <school.rector town people"),
    ("What does the company that the spouse of the mayor of $x worked for make?",
     "town: mayor spouse employer product"),
)  # fmt: skip


MOST = 4  # members of a set on a path


class DeadEnd(Exception):
    """A path that leads nowhere, or not to one answer."""


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    answer: str
    calls: list[ToolCall]  # what finds the answer


@dataclass
class Walk:
    """A way through the documents of a world, and the calls that it takes."""

    number: int
    calls: list[ToolCall] = field(default_factory=list)
    listed: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)

    def follow(self, start: str, steps: list[str]) -> Value:
        """Where the steps lead. Raises DeadEnd."""
        at: list[Value] = [start]
        for step in steps:
            verb, _, attribute = step.partition(":")
            if step.startswith("<"):
                at = self._those(str(_one(at)), *step[1:].split("."))
            elif attribute:
                at = self._choose(verb, at, attribute)
            else:
                at = [self._read(str(_one(at)), step)]
        return _one(at)

    def _those(self, name: str, kind: str, attribute: str) -> list[Value]:
        self._search(INDEX_OF[kind], name)
        found = world(self.number).having(kind, attribute, name)
        if len(found) > MOST or not {library(self.number).ids[n] for n in found} <= self.listed:
            raise DeadEnd
        return [*found]

    def _choose(self, verb: str, names: list[Value], attribute: str) -> list[Value]:
        if len(names) < 2:
            raise DeadEnd
        numbers = [int(self._read(str(name), attribute)) for name in names]
        if verb == "sum":
            return [sum(numbers)]
        best = {"min": min, "max": max}[verb](numbers)
        return [name for name, number in zip(names, numbers, strict=True) if number == best]

    def _read(self, name: str, attribute: str) -> Value:
        made = world(self.number)
        id = library(self.number).ids[name]
        if id not in self.listed:
            self._search(INDEX_OF[made.kinds[name]], name)
        if id not in self.listed or attribute not in made.facts[name]:
            raise DeadEnd
        if id not in self.opened:
            self.calls.append(ToolCall("open", document=id))
            self.opened.add(id)
        return made.facts[name][attribute]

    def _search(self, index: str, query: str) -> None:
        self.calls.append(ToolCall("search", index=index, query=query))
        self.listed |= set(library(self.number).indexes[index].search(query, HITS))


@functools.lru_cache(maxsize=8192)
def question(template: int, number: int, n: int) -> Question:
    """The ``n``-th question of a template about a world. The same on every machine."""
    text, path = TEMPLATES[template]
    branches = [branch.split() for branch in re.split(r" [-+] ", path)]
    rng = random.Random(derive("search question", template, number))
    pools = [rng.sample(names, len(names)) for names in (world(number).names[b[0].rstrip(":")] for b in branches)]
    for starts in zip(*pools, strict=False):
        if len(set(starts)) < len(starts):
            continue
        walk = Walk(number)
        try:
            ends = [walk.follow(start, branch[1:]) for start, branch in zip(starts, branches, strict=True)]
        except DeadEnd:
            continue
        if len(ends) == 2:
            left, right = map(int, ends)
            ends = [left + right if " + " in path else abs(left - right)]
        told = Template(text).substitute(dict(zip("xy", starts, strict=False)))
        if ends[0] == 0 or str(ends[0]) in told:
            continue
        if n == 0:
            return Question(told, str(ends[0]), walk.calls)
        n -= 1
    raise ValueError(f"world {number} has too few questions of template {template}")


def _one(found: list[Value]) -> Value:
    if len(found) != 1:
        raise DeadEnd
    return found[0]
