"""``agentrl/Reasoning-v0``: questions of reasoning-gym's generators, a Python session in a sandbox, one final answer.

A task is ``GENERATOR/SEED``. Of the package's generators those are taken whose questions have one right answer and
are the same in every process. Answers are compared as they are written, numbers by value, formulas by math-verify
where it is installed; the package's own scores are not asked, because some of them evaluate what an agent wrote.
Needs the extra ``code``.
"""

from __future__ import annotations

import functools
import random
from typing import Any

from agentrl.envs.code.env import LIMITS, same
from agentrl.envs.code.symbolic import equal
from agentrl.envs.ids import by_kind
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.seeds import derive
from agentrl.tools import tool
from agentrl.tools.python import Python
from agentrl.types import ToolCall

TRAIN, UNSEEN = range(48), range(48, 54)  # seeds
SYMBOLIC = frozenset({"intermediate_integration", "simple_integration"})  # the question is no formula of the answer
_EXACT = """
ab advanced_geometry base_conversion basic_arithmetic binary_alternation binary_matrix bitwise_arithmetic
caesar_cipher chain_sum color_cube_rotation complex_arithmetic count_bits count_primes cryptarithm decimal_arithmetic
decimal_chain_sum dice fraction_simplification gcd gsm_symbolic largest_island lcm leg_counting letter_counting
list_functions manipulate_matrix maze number_filtering number_format number_sequence number_sorting pool_matrix
power_function products rotate_matrix rotten_oranges simple_equations simple_geometry spell_backward spiral_matrix
string_insertion string_manipulation string_splitting string_synthesis word_sequence_reversal word_sorting
"""
GENERATORS = sorted([*_EXACT.split(), *SYMBOLIC])


def splits() -> dict[str, list[str]]:
    return by_kind(GENERATORS, train=TRAIN, unseen=UNSEEN)


class Reasoning(ToolEnv):
    """Answer a question. Compute with python, whose session keeps its variables; then give the answer alone."""

    python = Python(limits=LIMITS)

    def __init__(self, sandbox: str = "local") -> None:
        import reasoning_gym  # noqa: F401  so that what is missing is told before an episode begins

        self.python = Python(sandbox, LIMITS)

    def start(self, task: str, rng: random.Random) -> str:
        self.generator, _, seed = str(task).rpartition("/")
        if self.generator not in GENERATORS or not seed.isdecimal():
            raise UserError(f"unknown task {task!r} of Reasoning; a task is GENERATOR/SEED, as gcd/0")
        self.task_type = self.generator
        question, self.right = asked(self.generator, int(seed))
        return question

    @tool(final=True)
    def answer(self, text: str) -> float:
        """Give the answer to the question, without any words around it."""
        right = same(text, self.right) or " ".join(text.split()) == " ".join(self.right.split())
        return float(right or (self.generator in SYMBOLIC and equal(text.strip(), self.right)))

    def expert(self) -> ToolCall:
        """The answer that came with the question: there is no program that finds it."""
        return ToolCall("answer", text=self.right)

    def state_key(self) -> Any:
        """The question, by its answer, and what has been run so far, word for word."""
        return self.generator, self.right, self.used


@functools.lru_cache(maxsize=1024)
def asked(generator: str, seed: int) -> tuple[str, str]:
    """A question and its answer, the same on every machine."""
    import reasoning_gym

    entry = reasoning_gym.create_dataset(generator, size=1, seed=derive("reasoning", generator, seed) % 2**31)[0]
    return str(entry["question"]), str(entry["answer"])
