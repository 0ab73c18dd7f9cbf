"""Where an episode starts that does not start at the beginning: the turns that it shares with another one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from agentrl.envs.core import digest
from agentrl.types import Observation, StopReason, Trajectory, Turn


@dataclass(frozen=True, slots=True)
class Stem:
    """The first ``turn`` turns of ``trajectory``, and ``token`` tokens of the reply that came next."""

    trajectory: Trajectory
    turn: int
    token: int = 0

    def __post_init__(self) -> None:
        name, turns = self.trajectory.id, self.trajectory.turns
        if not 0 <= self.turn < len(turns):
            raise ValueError(f"nothing comes after turn {self.turn} of {name}, which has {len(turns)} turns")
        reply = len(turns[self.turn].completion_ids)
        if self.token and not 0 < self.token < reply:
            raise ValueError(f"turn {self.turn} of {name} cannot be cut after {self.token} of its {reply} tokens")

    @property
    def turns(self) -> list[Turn]:
        """The shared turns: the same records, not copies."""
        return self.trajectory.turns[: self.turn]

    @property
    def observation(self) -> Observation:
        """What is seen where the stem ends."""
        return self.trajectory.turns[self.turn].observation

    @property
    def seconds(self) -> float:
        return sum(sum(turn.seconds.values()) for turn in self.turns)

    def begin(self, turn: Turn) -> None:
        """Give ``turn``, the first after the stem, the tokens that it shares with the trajectory's own."""
        own, n = self.trajectory.turns[self.turn], self.token
        turn.completion_ids, turn.logprobs = own.completion_ids[:n], own.logprobs[:n]
        turn.entropies, turn.versions = own.entropies[:n], [(first, v) for first, v in own.versions if first < n]

    def mark(self, trajectory: Trajectory) -> None:
        """Put the shared turns into a new trajectory, and where they come from.

        A trajectory of another group is no parent, since groups never mix, and its turns are copies that nobody trains.
        """
        source = self.trajectory
        own = ("seconds", "restored", "last_observation")
        trajectory.info = {k: v for k, v in source.info.items() if k not in own}
        trajectory.info["world_seed"] = source.world_seed
        if source.group == trajectory.group:
            trajectory.turns = self.turns
            trajectory.parent, trajectory.branch_turn = source.id, self.turn
            trajectory.branch_token = self.token or None
        else:
            trajectory.turns = [replace(turn, trainable=False) for turn in self.turns]
            trajectory.info |= {"stem": source.id, "stem_turn": self.turn}


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a re-executed episode first differs from what is stored. Turn 0 differs where the reset does."""

    turn: int
    what: str  # observation, rewards, end
    stored: Any
    found: Any

    def __str__(self) -> str:
        return f"turn {self.turn}: {self.what} was {_short(self.stored)}, is now {_short(self.found)}"


Call = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


async def re_execute(env: Any, trajectory: Trajectory, turns: int, call: Call) -> Difference | None:
    """Reset ``env`` as it was and take the first ``turns`` actions again; the first difference, if there is one.

    ``call`` awaits one call of the environment: deadlines and blame are its business. Observations are compared by
    digest, rewards within 1e-6. Where all turns are taken, how the episode ended is compared as well.
    """
    options = {"task": trajectory.task.id}
    observation, _ = await call(lambda: env.areset(seed=trajectory.world_seed, options=options))
    over = False
    for index, turn in enumerate(trajectory.turns[:turns]):
        if digest(observation) != digest(turn.observation):
            return Difference(index, "observation", turn.observation, observation)
        if turn.action is None:  # it was told why its text was no action
            observation = f"{turn.error}"
            continue
        observation, reward, terminated, truncated, _ = await call(partial(env.astep, turn.action))
        if not np.isclose(reward, turn.reward, rtol=0, atol=1e-6):
            return Difference(index, "rewards", turn.reward, reward)
        over = terminated or truncated
        if over and index + 1 < len(trajectory.turns):
            return Difference(index, "end", "none", "terminated" if terminated else "truncated")
    if turns < len(trajectory.turns):
        expected = trajectory.turns[turns].observation
        same = digest(observation) == digest(expected)
        return None if same else Difference(turns, "observation", expected, observation)
    if over == (trajectory.stop in (StopReason.TERMINATED, StopReason.TRUNCATED)):
        return None
    return Difference(turns - 1, "end", trajectory.stop.value, "over" if over else "not over")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."
