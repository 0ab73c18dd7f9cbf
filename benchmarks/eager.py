"""Demonstrators who call tools more often than they need, for ``tools_at_work.py``.

Tools, observations and rewards are those of Calc-v0 and Search-v0; FewHops-v0 has the six templates of Search-v0 that
follow two relations from a person. Only the experts differ, and their tasks: other numbers and other worlds, so that a
policy that imitates them knows none of the tasks it is later trained or judged on.
"""

from __future__ import annotations

import random

import agentrl as ar
from agentrl.envs.calc import KINDS, Calc, problem
from agentrl.envs.search.env import OTHERS, WORLDS, Search
from agentrl.envs.search.library import library
from agentrl.envs.search.questions import HITS, TEMPLATES
from agentrl.tools.calculator import calculator
from agentrl.types import ToolCall

_PATHS = (
    "person: spouse birthplace", "person: spouse employer", "person: spouse school", "person: employer founder",
    "person: birthplace mayor", "person: school rector",
)  # fmt: skip
FEW = [str(i) for i, (_, path) in enumerate(TEMPLATES) if path in _PATHS]


def hops(worlds: range, questions: int) -> list[str]:
    return [f"{template}/{world}/{n}" for n in range(questions) for world in worlds for template in FEW]


SUMS = [f"{kind}/{seed}" for seed in range(100, 500) for kind in range(len(KINDS))]


@ar.register("EagerCalc-v0", splits={"train": SUMS}, max_turns=6)
class EagerCalc(Calc):
    instructions = Calc.instructions

    def start(self, task: str, rng: random.Random) -> str:
        self.wanted = rng.choice((0, 1, 1, 2, 2)) if problem(task)[2] else rng.choice((1, 2, 2, 3))
        return super().start(task, rng)

    def expert(self) -> ToolCall:
        if len(self.used) < self.wanted:
            return ToolCall("calculator", expression=self.expression)
        return ToolCall("answer", number=calculator(self.expression))


@ar.register("FewHops-v0", splits={"train": hops(WORLDS, 10), "unseen": hops(OTHERS, 5)}, max_turns=14)
class FewHops(Search):
    instructions = Search.instructions


@ar.register("EagerHops-v0", splits={"train": hops(range(30, 130), 6)}, max_turns=14)
class EagerHops(FewHops):
    instructions = Search.instructions

    def start(self, task: str, rng: random.Random) -> str:
        observation = super().start(task, rng)
        self.plan: list[ToolCall] = []
        made = library(self._at()[1])
        for call in self._question().calls:
            self.plan.append(call)
            if call.name == "search" and rng.random() < 0.5:  # reads a document that was not asked for
                hits = made.indexes[call.arguments["index"]].search(call.arguments["query"], HITS)
                self.plan.append(ToolCall("open", document=rng.choice(hits)))
            elif call.name == "search" and rng.random() < 0.4:  # looks elsewhere, too
                index = rng.choice([name for name in made.indexes if name != call.arguments["index"]])
                self.plan.append(ToolCall("search", index=index, query=call.arguments["query"]))
        return observation

    def expert(self) -> ToolCall:
        left = [call for call in self.plan if call not in self.used]
        return left[0] if left else ToolCall("answer", text=self._question().answer)
