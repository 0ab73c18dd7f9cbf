"""Anchors: what makes two turns comparable."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from agentrl.envs import plugins
from agentrl.errors import UserError, unknown
from agentrl.trainers.credit.columns import text_of
from agentrl.types import Trajectory, Turn

Anchor = str | Callable[[Turn], Hashable]

ANCHORS = {
    "state_key": "what the agent has seen of its state, as the environment sums it up (default)",
    "observation": "the text of the observation, as the published GiGPO code has it",
    "privileged": "PRIVILEGED: all that the environment knows, also what no agent could",
    "FILE.py:FUNCTION": "FUNCTION(turn) -> a hashable value; None: comparable with none",
}


def anchor_key(anchor: Anchor) -> Callable[[Turn], Hashable]:
    """The function of a turn that ``anchor`` names; the file of ``FILE.py:FUNCTION`` is imported once.

    Raises UserError for another name, and where the file has no such function.
    """
    if callable(anchor):
        return anchor
    if anchor == "state_key":
        return lambda turn: turn.state_key or None
    if anchor == "observation":
        return lambda turn: text_of(turn.observation)
    if anchor == "privileged":
        return _privileged
    if not anchor.rpartition(":")[0].endswith(".py"):
        raise unknown("anchor", anchor, ANCHORS)
    return _checked(plugins.function(anchor, "anchor function"), anchor)


def anchors_of(trajectories: Sequence[Trajectory], anchor: Anchor) -> list[Hashable]:
    """The anchor of every turn, trajectory after trajectory. Raises UserError naming trajectory and turn."""
    key = anchor_key(anchor)
    found: list[Hashable] = []
    for trajectory in trajectories:
        for number, turn in enumerate(trajectory.turns):
            try:
                found.append(key(turn))
            except UserError as error:
                raise UserError(f"trajectory {trajectory.id!r}, turn {number}: {error}") from error
    return found


def _privileged(turn: Turn) -> str:
    key = turn.info.get("privileged_key")
    if not isinstance(key, str):
        raise UserError("anchor privileged: the environment told no privileged_key() when this was played")
    return key


def _checked(function: Callable[[Turn], Any], name: str) -> Callable[[Turn], Hashable]:
    def key(turn: Turn) -> Hashable:
        try:
            found: Hashable = function(turn)
            hash(found)
        except Exception as error:
            raise UserError(f"anchor {name} failed: {type(error).__name__}: {error}") from error
        return found

    return key
