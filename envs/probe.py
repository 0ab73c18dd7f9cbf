"""``Probe-*-v0``: five environments of a minute each. A trainer that fails one of them has a bug of one kind.

Every action is one of four words. A task is a number; where a probe shows a cue, the task decides which.

| probe | pays | fails where |
|---|---|---|
| ``bandit`` | the right word, at once | the gradient has the wrong sign, or trains tokens that were not sampled |
| ``delay`` | the first word, at the last turn | returns are not carried back, or credit lands on another turn |
| ``memory`` | the word for the first cue, at the last turn | the context loses its beginning, or masks slip |
| ``distractor`` | the word for the bell, among other turns | credit is smeared over, or shifted between, the turns |
| ``noise`` | a little for the word, more by task and chance | statistics mix groups |

Random play succeeds once in four.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from agentrl.envs.core import Env, ResetResult, Snapshot, StepResult
from agentrl.errors import UserError
from agentrl.types import Action, Observation

WORDS = ("red", "green", "blue", "white")
CUES = ("one", "two", "three", "four")
TASKS = {"train": range(64), "unseen": range(64, 96)}
_PAIRS = ", ".join(f"{word} for {cue}" for cue, word in zip(CUES, WORDS, strict=True))


def splits() -> dict[str, range]:
    """The tasks of every probe."""
    return TASKS


class Probe(Env):
    """What the probes share: the task, the turn, and what was earned by words. A probe says what is shown and paid."""

    blocking: ClassVar[bool] = False
    snapshot_level = "exact"
    turns: ClassVar[int] = 1

    def __init__(self) -> None:
        self.task = -1
        self.seed = 0
        self.turn = 0
        self.right = False  # the word that counts was the right one
        self.said = ""  # that word

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        task = self.pick_task(seed, options)
        if not any(type(task) is int and task in tasks for tasks in TASKS.values()):
            raise UserError(f"unknown task {task!r} of {type(self).__name__}; a task is a number from 0 to 95")
        self.task, self.turn, self.right, self.said = task, 0, False, ""
        self.seed = random.getrandbits(32) if seed is None else seed
        return self.shown(), {"task": task}

    def step(self, action: Action) -> StepResult:
        if self.task < 0:
            raise UserError(f"{type(self).__name__}: call reset() before anything else")
        word = action.strip().lower() if isinstance(action, str) else ""
        over = self.turn >= self.turns
        valid = word in WORDS and not over
        if valid and self.counts():
            self.right, self.said = word == self.answer(), word
        reward = 0.0 if over else self.paid(valid)
        self.turn = min(self.turn + 1, self.turns)
        done = self.turn == self.turns
        observation = "Over." if done else self.shown()
        return observation, reward, done, False, {"valid": valid, "success": done and self.right}

    def counts(self) -> bool:
        """Whether the word of this turn decides."""
        return self.turn == 0

    def answer(self) -> str:
        """The word that is right in this task."""
        return WORDS[self.task % len(WORDS)]

    def paid(self, valid: bool) -> float:
        """The reward of this turn."""
        return float(self.right and self.turn == self.turns - 1)

    def shown(self) -> Observation:
        """The observation of this turn."""
        return f"Say {CUES[self.task % len(CUES)]}."

    def admissible_actions(self) -> list[Action]:
        return [] if self.turn >= self.turns else [*sorted(WORDS)]

    def expert(self) -> Action:
        return self.answer() if self.counts() else WORDS[0]

    def state_key(self) -> Any:
        """The turn, what the agent has seen of the task, and the word it said where that counts."""
        return self.turn, self.said, self.task % len(WORDS)

    def privileged_key(self) -> Any:
        """The turn, the task, and whether the word that counts was right, which is not told before the end."""
        return self.turn, self.right, self.task

    def snapshot(self) -> Snapshot:
        return Snapshot((self.task, self.seed, self.turn, self.right, self.said))

    def restore(self, snapshot: Snapshot) -> None:
        self.task, self.seed, self.turn, self.right, self.said = snapshot.state


class Bandit(Probe):
    """One turn, and always the same word pays. If this does not rise, look at the sign and at the loss mask."""

    instructions = f"Reply with one word: {', '.join(WORDS)}. One of them pays."

    def answer(self) -> str:
        return "blue"

    def shown(self) -> Observation:
        return "Say a word."

    def state_key(self) -> Any:
        return self.turn, self.said


class Delay(Bandit):
    """The first of five words decides what the last turn pays. Catches returns that are not carried back in time."""

    instructions = f"Reply with one word: {', '.join(WORDS)}. The first word decides what is paid at the end."
    turns = 5

    def shown(self) -> Observation:
        return "Say a word." if self.turn == 0 else "Go on."


class Memory(Probe):
    """The cue of the first turn decides at the last. Catches contexts, masks and positions that lose the beginning."""

    instructions = f"Reply with one word: {', '.join(WORDS)}. At the end, say the word for the first number: {_PAIRS}."
    turns = 4

    def counts(self) -> bool:
        return self.turn == self.turns - 1

    def shown(self) -> Observation:
        if self.turn == 0:
            return f"The number is {CUES[self.task % len(CUES)]}."
        return "Which word?" if self.counts() else "Go on."


class Distractor(Probe):
    """At one of four turns a bell tells the number that counts, and pays at once; the other turns look alike.

    Which turn it is and what else is said changes from task to task and from seed to seed. Catches credit that lands
    on a neighbouring turn, and credit for the whole episode that is not centred.
    """

    instructions = f"Reply with one word: {', '.join(WORDS)}. When the bell tells a number, say its word: {_PAIRS}."
    turns = 4

    def counts(self) -> bool:
        return self.turn == self.task // len(WORDS) % self.turns

    def paid(self, valid: bool) -> float:
        return float(valid and self.counts() and self.right)

    def shown(self) -> Observation:
        seed = self.seed if self.turn else 0  # the task alone fixes the first observation
        other = random.Random(f"distractor {self.task} {seed} {self.turn}").choices(CUES, k=2)
        number = CUES[self.task % len(CUES)] if self.counts() else other[0]
        return f"The {'bell' if self.counts() else 'clock'} says {number}. The lamp says {other[1]}."

    def state_key(self) -> Any:
        return (self.turn, self.said, self.task % len(WORDS)) if self.counts() else (self.turn, self.said)


class Noise(Probe):
    """The right word pays 0.05 more, beside 0.05 of chance and, in every other task, a gift of 0.9.

    Catches baselines taken across groups, where the gift drowns the word. Success is the right word, not luck.
    """

    instructions = f"Reply with one word: {', '.join(WORDS)}. The word for the number pays more: {_PAIRS}."

    def paid(self, valid: bool) -> float:
        if not valid:
            return 0.0
        chance = random.Random(f"noise {self.task} {self.seed}").random()
        return 0.05 * self.right + 0.05 * chance + 0.9 * (self.task % 2)
