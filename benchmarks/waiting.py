"""Household rooms and probes whose steps wait: log-normal times with a heavy tail, fixed by episode seed and turn.

They wait rather than compute, as browsers, services and other people's machines do.
"""

from __future__ import annotations

import random
import time
from typing import Any, ClassVar

import agentrl as ar
from agentrl.envs.core import Env, ResetResult, StepResult
from agentrl.envs.household.env import Household
from agentrl.envs.household.tasks import splits
from agentrl.envs.probe import TASKS, Delay, Distractor, Memory
from agentrl.types import Action


def seconds(seed: int, turn: int, median: float, sigma: float, tail: float, factor: float) -> float:
    """What one step takes: log-normal, and ``tail`` of the steps ``factor`` times the median."""
    rng = random.Random(f"step {seed} {turn}")
    if rng.random() < tail:
        return median * factor
    return median * rng.lognormvariate(0.0, sigma)


class Waits(Env):
    """Mixed into an environment: its steps wait. ``median`` is in seconds; 0 waits for nothing."""

    blocking: ClassVar[bool] = True
    _turn = 0
    _draws = 0

    def __init__(
        self,
        median: float = 0.05,
        sigma: float = 0.5,
        tail: float = 0.01,
        factor: float = 50.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._times = {"median": median, "sigma": sigma, "tail": tail, "factor": factor}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        self._draws, self._turn = seed or 0, 0
        return super().reset(seed=seed, options=options)

    def step(self, action: Action) -> StepResult:
        if self._times["median"]:
            time.sleep(seconds(self._draws, self._turn, **self._times))
        self._turn += 1
        return super().step(action)


@ar.register("Waiting-v0", splits={name: splits("tiny")[name] for name in ("train", "unseen")}, max_turns=50)
class Waiting(Waits, Household):
    pass


@ar.register("Waiting-memory-v0", splits=TASKS, max_turns=Memory.turns)
class WaitingMemory(Waits, Memory):
    pass


@ar.register("Waiting-distractor-v0", splits=TASKS, max_turns=Distractor.turns)
class WaitingDistractor(Waits, Distractor):
    pass


@ar.register("Waiting-delay-v0", splits=TASKS, max_turns=Delay.turns)
class WaitingDelay(Waits, Delay):
    pass
