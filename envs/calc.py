"""``agentrl/Calc-v0``: questions in words with a calculator at hand, which two in five do not need.

Made to watch what tool calls are worth: every question is of one of 34 kinds, with small numbers (do it in your head)
or large ones. An answer may come with a confidence between 0 and 1, which is kept in the action for calibration.
"""

from __future__ import annotations

import random
from string import Template
from typing import Annotated, Any

from pydantic import Field

from agentrl.envs.ids import by_kind
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.seeds import derive
from agentrl.tools import tool
from agentrl.tools.calculator import calculator
from agentrl.types import ToolCall

TRAIN, UNSEEN = range(60), range(60, 70)  # seeds of every kind
EASY = 2  # of five seeds
KINDS = (
    ("A shop sells $a lamps in the morning and $b in the afternoon. How many in all?", "$a + $b"),
    ("One tower has $a steps, another one $b. What is the difference?", "abs($a - $b)"),
    ("A hall has $a rows of $b chairs. How many chairs?", "$a * $b"),
    ("A hall has $a rows of $b chairs, and $c more stand outside. How many chairs?", "$a * $b + $c"),
    ("$a children get $b apples and $c pears each. How many fruits?", "$a * ($b + $c)"),
    ("$a bags of $b nuts are filled into boxes of $c. How many boxes become full?", "$a * $b // $c"),
    ("$a bags of $b nuts are filled into boxes of $c. How many nuts are left over?", "$a * $b % $c"),
    ("One field is $a by $b, another $c by $d metres. By how many square metres do they differ?",
     "abs($a * $b - $c * $d)"),
    ("A square has sides of $a. What is its area?", "$a ** 2"),
    ("Two squares have sides of $a and $b. What is their area together?", "$a ** 2 + $b ** 2"),
    ("What is the greatest common divisor of $a and $b?", "gcd($a, $b)"),
    ("Two bells ring every $a and every $b minutes, and ring together now. After how many minutes do they next?",
     "lcm($a, $b)"),
    ("Which is more, $a times $b or $c times $d? Answer with the larger product.", "max($a * $b, $c * $d)"),
    ("Which is less, $a plus $b or $c plus $d? Answer with the smaller sum.", "min($a + $b, $c + $d)"),
    ("A box is $a long, $b wide and $c high. What is its volume?", "$a * $b * $c"),
    ("A box is $a long, $b wide and $c high. What is its surface?", "2 * ($a * $b + $b * $c + $a * $c)"),
    ("What is the sum of the whole numbers from 1 to $a?", "$a * ($a + 1) // 2"),
    ("A cube has edges of $a. What is its volume?", "$a ** 3"),
    ("What is the mean of $a, $b and $c, without the fraction?", "($a + $b + $c) // 3"),
    ("$a people travel in buses that take $b. How many buses are needed?", "-(-$a // $b)"),
    ("How many minutes are $a hours and $b minutes?", "$a * 60 + $b"),
    ("How many seconds are $a hours, $b minutes and $c seconds?", "$a * 3600 + $b * 60 + $c"),
    ("How many minutes are $a days and $b hours?", "($a * 24 + $b) * 60"),
    ("A coat costs $a euros and becomes $p percent cheaper. What does it cost now, in cents?", "$a * (100 - $p)"),
    ("A triangle has a base of $a and a height of $b. What is twice its area plus $c?", "$a * $b + $c"),
    ("Of $a eggs, $b are in each carton; $c full cartons are sold. How many eggs are in them, and no more than there "
     "are?", "min($a, $b * $c)"),
    ("By how much is the square of $a larger or smaller than the square of $b?", "abs($a ** 2 - $b ** 2)"),
    ("Somebody walks $a metres there and back again, $b times. How many metres?", "2 * $a * $b"),
    ("Paint for $a walls of $b by $c metres: how many square metres, less a door of $p?", "$a * $b * $c - $p"),
    ("$a friends shake hands, every two of them once. How many handshakes?", "$a * ($a - 1) // 2"),
    ("A ladder has $a rungs, $b centimetres apart. How far is the last from the first?", "($a - 1) * $b"),
    ("Somebody saves $a in the first week and $p more in each further week. How much in week $b?",
     "$a + ($b - 1) * $p"),
    ("What is left when $a times $b is divided by $p plus $c?", "$a * $b % ($p + $c)"),
    ("Three shelves hold $a books each, two hold $b each, and $c lie about. How many books?", "3 * $a + 2 * $b + $c"),
)  # fmt: skip


def splits() -> dict[str, list[str]]:
    """Task ids: number of the kind, and seed."""
    return by_kind(range(len(KINDS)), train=TRAIN, unseen=UNSEEN)


class Calc(ToolEnv):
    """Answer the question with a whole number. Use the calculator only where you need it."""

    calculate = staticmethod(calculator)

    def start(self, task: str, rng: random.Random) -> str:
        question, self.expression, self.easy = problem(task)
        self.task_type = "easy" if self.easy else "hard"
        return question

    @tool(final=True)
    def answer(self, number: str, confidence: Annotated[float, Field(ge=0, le=1)] | None = None) -> float:
        """Give the answer, and if you like how sure you are, from 0 to 1."""
        return float(number.strip() == calculator(self.expression))

    def expert(self) -> ToolCall:
        if not self.easy and not self.used:
            return ToolCall("calculator", expression=self.expression)
        return ToolCall("answer", number=calculator(self.expression))

    def state_key(self) -> Any:
        """The question, by its expression, and what was worked out."""
        return self.expression, self.used


def problem(task: str) -> tuple[str, str, bool]:
    """Question, expression, and whether it is easy. Raises UserError for an unknown task."""
    kind, _, seed = str(task).partition("/")
    if not (kind.isdecimal() and seed.isdecimal() and int(kind) < len(KINDS)):
        raise UserError(f"unknown task {task!r} of Calc; a task is KIND/SEED, as 0/0")
    rng = random.Random(derive("calc", int(kind), int(seed)))
    easy = int(seed) % 5 < EASY
    words = {name: rng.randint(2, 9) if easy else rng.randint(103, 4999) for name in "abcd"}
    words["p"] = rng.choice((2, 5, 10)) if easy else rng.randint(3, 47)
    question, expression = (Template(part).substitute(words) for part in KINDS[int(kind)])
    return question, expression, easy
