import random
from typing import Annotated

from pydantic import Field

import agentrl as ar

Number = Annotated[int, Field(ge=1, le=64)]


@ar.register("Guess-v0", splits={"train": range(0, 1000), "unseen": range(1000, 1200)}, max_turns=8)
class Guess(ar.ToolEnv):
    """Find a hidden number between 1 and 64."""

    def start(self, task: int, rng: random.Random) -> str:        # a new episode -> the first message
        self.secret = random.Random(task).randint(1, 64)
        self.low, self.high = 1, 64                                # what the player can know
        return "A number from 1 to 64 is hidden. Compare with guesses, then submit it."

    @ar.tool(cost=0.01)                                            # schema from signature and docstring
    def compare(self, guess: Number) -> str:
        """Say whether the hidden number is higher, lower or equal."""
        if guess == self.secret:
            self.low = self.high = guess
            return "equal"
        if self.secret > guess:
            self.low = max(self.low, guess + 1)
            return "higher"
        self.high = min(self.high, guess - 1)
        return "lower"

    @ar.tool(final=True)                                           # a final tool returns the reward
    def submit(self, number: Number) -> float:
        """Give the answer."""
        return float(number == self.secret)

    def state_key(self) -> tuple[int, int]:                        # optional: what makes two turns comparable
        return self.low, self.high

    def expert(self) -> ar.ToolCall:                               # optional: checks, demonstrations
        middle = (self.low + self.high) // 2
        return ar.ToolCall("submit", number=middle) if self.low == self.high else ar.ToolCall("compare", guess=middle)
