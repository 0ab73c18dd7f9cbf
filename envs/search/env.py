"""``agentrl/Search-v0``: questions that take several documents of a library, found with its five search indexes.

A task is ``TEMPLATE/WORLD/N``. Worlds are generated: what a question asks stands in no other world, and names repeat
between worlds by chance only. ``seen`` asks new questions about the worlds of ``train``, ``unseen`` is about others.
"""

from __future__ import annotations

import random
from typing import Any, Literal

from agentrl.envs.search.bm25 import words
from agentrl.envs.search.library import library
from agentrl.envs.search.questions import HITS, TEMPLATES, Question, question
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.tools import ToolError, tool
from agentrl.types import ToolCall

WORLDS, OTHERS = range(20), range(20, 30)
TRAIN, SEEN, UNSEEN = range(3), range(3, 4), range(1)  # questions of a template about a world


def splits() -> dict[str, list[str]]:
    def ids(worlds: range, questions: range) -> list[str]:
        return [f"{t}/{world}/{n}" for n in questions for world in worlds for t in range(len(TEMPLATES))]

    return {"train": ids(WORLDS, TRAIN), "seen": ids(WORLDS, SEEN), "unseen": ids(OTHERS, UNSEEN)}


class Search(ToolEnv):
    """Find the answer in the library: search its indexes for names, open documents, then answer with a name or a number
    alone.
    """

    def start(self, task: str, rng: random.Random) -> str:
        self.task = task
        self.task_type = f"{sum(call.name == 'open' for call in self._question().calls)} documents"
        return self._question().text

    @tool
    def search(self, index: Literal["people", "companies", "places", "books", "schools"], query: str) -> str:
        """List the documents of an index that best match some words."""
        return library(self._at()[1]).hits(index, query, HITS)

    @tool
    def open(self, document: str) -> str:
        """Read a document by the id that a search listed, such as p12."""
        sentences = library(self._at()[1]).sentences.get(document)
        if sentences is None:
            raise ToolError(f"there is no document {document[:40]!r}")
        return " ".join(sentences)

    @tool(final=True)
    def answer(self, text: str) -> float:
        """Give the answer."""
        return float(words(text) == words(self._question().answer))

    def expert(self) -> ToolCall:
        for call in self._question().calls:
            if call not in self.used:
                return call
        return ToolCall("answer", text=self._question().answer)

    def state_key(self) -> Any:
        """The question and what was looked up, in whatever order."""
        return self._question().text, {str(call) for call in self.used}

    def _at(self) -> tuple[int, int, int]:
        parts = str(self.task).split("/")
        if not (len(parts) == 3 and all(part.isdecimal() for part in parts) and int(parts[0]) < len(TEMPLATES)):
            raise UserError(f"unknown task {self.task!r} of Search; a task is TEMPLATE/WORLD/N, as 0/20/0")
        template, world, n = map(int, parts)
        return template, world, n

    def _question(self) -> Question:
        return question(*self._at())
