"""Monte-Carlo values of visited states: go back to each, let the policy go on some times, and average what it earns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agentrl.envs.core import digest
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.stem import Stem
from agentrl.seeds import derive
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.progress import Observer
from agentrl.types import Trajectory


def jobs(played: Sequence[Trajectory], k: int, temperature: float, seed: int) -> list[list[Job]]:
    """``k`` continuations from the state before each turn, a list a turn, trajectory after trajectory."""
    return [
        [
            Job(
                id=f"{trajectory.id}/{turn}/{draw}",
                task=trajectory.task,
                seed=derive(seed, "continuation", trajectory.id, turn, draw),
                key=(index, turn, draw),
                temperature=temperature,
                stem=Stem(trajectory, turn),
            )
            for draw in range(k)
        ]
        for index, trajectory in enumerate(played)
        for turn in range(len(trajectory.turns))
    ]


def histories(played: Sequence[Trajectory]) -> list[int]:
    """A number for what had been seen and done before each turn of a task, the same where that was the same."""
    numbers: dict[tuple[object, ...], int] = {}
    found = []
    for trajectory in played:
        before: object = trajectory.task.key
        for turn in trajectory.turns:
            seen = (before, digest(turn.info.get("shown", turn.observation)))
            found.append(numbers.setdefault(seen, len(numbers)))
            before = (found[-1], turn.completion_ids.tobytes(), turn.text, digest(turn.action))
    return found


def earned(trajectory: Trajectory, gamma: float) -> float:
    """What a continuation earned after its stem: the discounted sum of rewards, its first turn's undiscounted."""
    return sum(gamma**i * turn.reward for i, turn in enumerate(trajectory.turns[trajectory.shared :]))


def continued(
    table: TurnTable,
    played: Sequence[Trajectory],
    rollout: Rollout,
    *,
    k: int,
    gamma: float,
    temperature: float,
    seed: int,
    retries: int = 0,
    observer: Observer,
) -> tuple[TurnTable, dict[str, float]]:
    """The table with ``mc_values`` and ``mc_error``, and what that cost.

    ``played``: the table's trajectories, in its order, played with ``rollout`` by the policy as it is. A continuation
    goes by the same limits as an episode, the turns and tokens of its stem counted. Turns with the same history share
    theirs. One that infrastructure broke says nothing; ``mc_values`` is nan where all did. ``mc_error``: standard error
    of the mean of ``k`` draws, nan for one.
    """
    begin = time.perf_counter()
    _, first, which = np.unique(histories(played), return_index=True, return_inverse=True)
    every = jobs(played, k, temperature, seed)
    wanted = [job for row in first for job in every[row]]
    observer.phase("continuations", len(wanted))
    kept, rollout.keep_states = rollout.keep_states, False  # nothing will grow from continuations
    try:
        flat = asyncio.run(rollout.run(wanted, observer.episode, retries))
    finally:
        rollout.keep_states = kept
    draws = np.array([earned(t, gamma) if t.trusted else np.nan for t in flat]).reshape(len(first), k)
    known = np.isfinite(draws)
    count = known.sum(1)
    mean = np.where(count > 0, np.where(known, draws, 0.0).sum(1) / np.maximum(count, 1), np.nan)
    square = np.where(known, (draws - mean[:, None]) ** 2, 0.0).sum(1)
    error = np.where(count > 1, np.sqrt(square / np.maximum(count - 1, 1) / np.maximum(count, 1)), np.nan)
    grown = [turn for t in flat for turn in t.turns[t.shared :]]
    told = {
        "episodes": len(flat),
        "tokens": sum(len(turn.completion_ids) for turn in grown),
        "env_steps": sum(turn.action is not None for turn in grown),
        "failed": int((~known).sum()),
        "mean_error": float(np.mean(error[count > 1])) if (count > 1).any() else 0.0,
        "seconds": time.perf_counter() - begin,
    }
    return replace(table, mc_values=mean[which], mc_error=error[which]), told
