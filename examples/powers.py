import random

import agentrl as ar
from agentrl.tools.python import Python


@ar.register("Powers-v0", splits={"train": range(1000), "unseen": range(1000, 1200)}, max_turns=4)
class Powers(ar.ToolEnv):
    """Work it out with python, then answer with the digits alone."""

    python = Python()  # a session in a sandbox for every episode

    def start(self, task: int, rng: random.Random) -> str:
        draw = random.Random(task)
        self.base, self.power = draw.randint(2, 99), draw.randint(20, 60)
        return f"What are the last three digits of {self.base} to the power of {self.power}?"

    def score(self, answer: str) -> float:  # of an answer in plain text, which ends the episode
        return float(answer.strip() == str(self.base**self.power)[-3:])

    def expert(self) -> ar.ToolCall | str:
        if not self.used:  # the calls of this episode so far
            return ar.ToolCall("python", code=f"print(str({self.base}**{self.power})[-3:])")
        return str(self.base**self.power)[-3:]
