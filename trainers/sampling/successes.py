"""Replay of successes: a group that failed as a whole gets an earlier success of its task."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pstdev

from pydantic import Field

from agentrl.trainers.sampling.base import Replay, Setting
from agentrl.types import Group

TASKS = 100_000  # that are remembered; those not seen for longest are forgotten


class Successes(Replay):
    """Of each task the last ``capacity`` successes are remembered; one of them, drawn evenly, takes a failure's place
    where the group's mean return is below ``mean`` and its deviation below ``deviation``.

    Source: ARPO-GUI (arXiv 2505.16282), published code.
    """

    capacity: int = Field(8, ge=1)
    mean: float = 0.2
    deviation: float = Field(0.05, gt=0)

    def choose(self, group: Group, setting: Setting) -> str | None:
        kept = self.state.get(group.task.key, [])
        returns = [t.reward for t in group if t.trusted]
        if not kept or not returns or fmean(returns) >= self.mean or pstdev(returns) >= self.deviation:
            return None
        return str(kept[int(setting.draw("replay", group.id) * len(kept))])

    def observe(self, groups: Sequence[Group]) -> None:
        for group in groups:
            won = [t.id for t in group if t.trusted and t.success and t.whole]
            if won:
                self.state[group.task.key] = [*self.state.pop(group.task.key, []), *won][-self.capacity :]
        while len(self.state) > TASKS:
            del self.state[next(iter(self.state))]
