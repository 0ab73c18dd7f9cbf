"""Stored episodes taken again, one after the other, and where they differ."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from agentrl.envs import registry
from agentrl.rollout.limits import Limits
from agentrl.rollout.stem import Difference, re_execute
from agentrl.types import Trajectory


def replay(trajectories: Sequence[Trajectory]) -> Iterator[tuple[Trajectory, Difference | None]]:
    """Each trajectory with the first difference that taking its actions again shows, or None.

    An environment that raises, or does not answer within the deadline of a step, differs there. One that broke when it
    was played is taken again up to its last whole turn.
    """
    for t in trajectories:
        env = registry.make(t.task.env, **dict(t.task.kwargs))
        try:
            yield t, asyncio.run(_replay(env, t))
        finally:
            env.close()


async def _replay(env: Any, trajectory: Trajectory) -> Difference | None:
    calls = 0

    async def call(make: Callable[[], Awaitable[Any]]) -> Any:
        nonlocal calls
        calls += 1
        return await asyncio.wait_for(make(), Limits().step_seconds)

    whole = len(trajectory.turns) - (not trajectory.trusted and bool(trajectory.turns))
    try:
        return await re_execute(env, trajectory, whole, call)
    except Exception as error:
        return Difference(max(0, calls - 2), "environment", "answered", f"{type(error).__name__}: {error}")
