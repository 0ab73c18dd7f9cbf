"""What is known of each task from the episodes that were played: wins, tries, the shortest win."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentrl.types import Group

KEPT = 100_000  # tasks that are remembered; those not seen for longest are forgotten


def tally(state: dict[str, Any], groups: Sequence[Group]) -> None:
    """Add what was played to ``state``: task key -> [wins, tries, turns of the shortest win or 0]. Failures count not.

    A branch counts as a try of its own.
    """
    for group in groups:
        played = [t for t in group if t.trusted]
        if not played:
            continue
        wins, tries, shortest = state.pop(group.task.key, [0, 0, 0])
        won = [len(t.turns) for t in played if t.success]
        shortest = min([shortest, *won]) if shortest else min(won, default=0)
        state[group.task.key] = [wins + len(won), tries + len(played), shortest]
    while len(state) > KEPT:
        del state[next(iter(state))]


def success(state: dict[str, Any], key: str) -> float | None:
    """The share of tries that were won; None for a task that was never played."""
    found = state.get(key)
    return found[0] / found[1] if found else None
