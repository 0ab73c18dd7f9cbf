"""A judge of pairs: what ranks the trajectories of a group where nothing else says how good they are."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from agentrl.envs import plugins
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.credit.arena import tournament
from agentrl.types import Trajectory

_TIE = (5.0, 5.0)  # what a match counts whose judge failed, as published


class Judge:
    """``FILE.py:FUNCTION``: ``(one, other) -> (points of one, points of other)`` of two trajectories of a task.

    A plain function runs in a thread, a coroutine as it is; the matches of a round at once. Each pair is judged in both
    orders and the points added, so that a liking for whoever comes first cancels.
    """

    def __init__(self, spec: str) -> None:
        self.function = plugins.function(spec, "judge")

    def ranked(self, table: TurnTable, played: Sequence[Trajectory]) -> tuple[TurnTable, dict[str, Any]]:
        """The table with the score ``arena``, from 1 for the best of a group to 0, on all turns; and what it cost.

        ``played``: the table's trajectories, in its order. One that is alone in its group has its outcome.
        """
        self.calls, self.failed, self.first = 0, 0, ""
        score = table.outcome.copy()
        for group in np.unique(table.group):
            members = np.flatnonzero(table.group == group).tolist()
            if len(members) > 1:
                score[members] = tournament(len(members), partial(self._round, [played[k] for k in members]))
        told: dict[str, Any] = {"calls": self.calls, "failed": self.failed}
        if self.first:
            told["first_error"] = self.first
        return replace(table, scores={**table.scores, "arena": score[table.trajectory]}), told

    def _round(self, mine: Sequence[Trajectory], pairs: Sequence[tuple[int, int]]) -> list[tuple[float, float]]:
        async def both() -> list[tuple[float, float]]:
            asked = [(mine[a], mine[b]) for pair in pairs for a, b in (pair, pair[::-1])]
            return await asyncio.gather(*(self._match(one, other) for one, other in asked))

        found = asyncio.run(both())
        return [(there[0] + back[1], there[1] + back[0]) for there, back in zip(found[::2], found[1::2], strict=True)]

    async def _match(self, one: Trajectory, other: Trajectory) -> tuple[float, float]:
        self.calls += 1
        try:
            if inspect.iscoroutinefunction(self.function):
                found = await self.function(one, other)
            else:
                found = await asyncio.to_thread(self.function, one, other)
            points = float(found[0]), float(found[1])
            if not all(map(math.isfinite, points)):
                raise ValueError(f"points must be finite numbers, not {found!r}")
        except Exception as error:  # a judge is a service or somebody's code: a run outlives it, and tells
            self.failed += 1
            self.first = self.first or f"{type(error).__name__}: {error}"
            return _TIE
        return points
