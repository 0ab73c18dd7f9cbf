"""Names exchanged in demonstrations: which name stands where is then no use to remember, and has to be read.

A small model that sees each arbitrary name a few times (a product's number) learns by heart which was right, and says
such a name where it is nowhere in sight (docs/results/07-web-gui.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.seeds import derive
from agentrl.types import ToolCall, Trajectory, Turn

_SAID = ("observation", "action", "text", "info")
_SAMPLED: dict[str, Any] = {"prompt_ids": (), "completion_ids": (), "logprobs": (), "entropies": (), "versions": []}


def exchanged(trajectories: Sequence[Trajectory], names: re.Pattern[str], seed: int) -> list[Trajectory]:
    """Copies in which every match of ``names`` is another of their matches, drawn anew for each trajectory.

    Within a trajectory a name becomes the same name wherever it stands, and different names stay different. A turn
    that changed has no token ids any more: nobody sampled it. Raises UserError where no name matches, or an empty one.
    """
    of = [_names(trajectory, names) for trajectory in trajectories]
    everything = sorted(set().union(*of))
    if not everything or "" in everything:
        found = "empty text" if everything else "nothing"
        raise UserError(f"exchange={names.pattern} matches {found} in what was played")
    made = []
    for i, (trajectory, own) in enumerate(zip(trajectories, of, strict=True)):
        drawn = np.random.default_rng(derive(seed, "exchange", i)).choice(len(everything), len(own), replace=False)
        other = {name: everything[n] for name, n in zip(sorted(own), drawn, strict=True)}
        made.append(_renamed(trajectory, names, other))
    return made


def _names(trajectory: Trajectory, names: re.Pattern[str]) -> set[str]:
    found: set[str] = set()

    def look(text: str) -> str:
        found.update(match[0] for match in names.finditer(text))
        return text

    for turn in trajectory.turns:
        _turn(turn, look)
    return found


def _renamed(trajectory: Trajectory, names: re.Pattern[str], other: dict[str, str]) -> Trajectory:
    def rename(text: str) -> str:
        return names.sub(lambda match: other[match[0]], text)

    return replace(trajectory, turns=[_turn(turn, rename) for turn in trajectory.turns])


def _turn(turn: Turn, say: Callable[[str], str]) -> Turn:
    said = {part: _each(getattr(turn, part), say) for part in _SAID}
    if all(getattr(turn, part) == new for part, new in said.items()):
        return turn
    return replace(turn, **said, **_SAMPLED)


def _each(value: Any, say: Callable[[str], str]) -> Any:
    """The value with all text in it said otherwise; what things are called, as keys and tools, stays."""
    if isinstance(value, str):
        return say(value)
    if isinstance(value, ToolCall):
        return ToolCall(value.name, **_each(value.arguments, say))
    if isinstance(value, dict):
        return {key: _each(inner, say) for key, inner in value.items()}
    if isinstance(value, list):
        return [_each(inner, say) for inner in value]
    return value
