"""How the columns of a turn table are read off played episodes."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.errors import UserError
from agentrl.types import Observation, StopReason, Trajectory, Turn, calls_of, images_of, spans

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def mean(values: npt.ArrayLike) -> float:
    """The mean; nan where there are none."""
    array = np.asarray(values, np.float64)
    return float(array.mean()) if len(array) else np.nan


def text_of(observation: Observation) -> str:
    """An observation as one text; an image is named by a digest."""
    if isinstance(observation, str):
        return observation
    text = json.dumps(observation, sort_keys=True, ensure_ascii=False)
    for url in set(images_of(observation)):
        text = text.replace(url, hashlib.sha256(url.encode()).hexdigest()[:12])
    return text


def intern(values: Iterable[Hashable | None], seen: dict[Hashable, int]) -> Ints:
    """Number values in the order of their first appearance; None becomes -1. ``seen`` is filled."""
    return np.array([-1 if v is None else seen.setdefault(v, len(seen)) for v in values], np.int64)


def reject_duplicates(ids: Sequence[str]) -> None:
    if len(set(ids)) != len(ids):
        twice = next(name for k, name in enumerate(ids) if name in ids[:k])
        raise UserError(f"trajectory id {twice!r} occurs twice")


def action_of(turn: Turn) -> str:
    """The same text for the same action: spaces and Unicode forms made equal, tool arguments sorted."""
    action = turn.text if turn.action is None else turn.action
    if isinstance(action, str):
        return same_text(action)
    return same_text([[call.name, call.arguments] for call in calls_of(action)])


def same_text(action: Any) -> str:
    """One text for what differs only in spaces, Unicode forms (a text) or the order of keys (JSON data)."""
    if isinstance(action, str):
        return " ".join(unicodedata.normalize("NFKC", action).split())
    return json.dumps(action, sort_keys=True, default=repr)


def fill_next(
    after: list[Hashable | None], states: Sequence[Hashable | None], last: Ints, won: Bools, stops: npt.NDArray[np.str_]
) -> None:
    """Where the state after a turn was not given: the next turn's, or after a last turn a win or a loss."""
    ends = dict(zip(last.tolist(), zip(won.tolist(), stops.tolist(), strict=True), strict=True))
    for i, given in enumerate(after):
        if given is None and i not in ends:
            after[i] = states[i + 1]
        elif given is None and (ends[i][0] or ends[i][1] == StopReason.TERMINATED):
            after[i] = ("end", "win" if ends[i][0] else "loss")


def after_end(stops: npt.NDArray[np.str_]) -> Floats:
    """[M] the value after the last turn, as far as it is known without a critic: 0 where nothing can follow.

    An episode that was cut short could have gone on, and has nan; one whose next prompt is longer than the model's
    window could not.
    """
    cut = np.isin(stops, [StopReason.TRUNCATED.value, StopReason.MAX_TURNS.value, StopReason.MAX_TOKENS.value])
    return np.where(cut, np.nan, 0.0)


def parent_rows(ids: Sequence[str], parents: Sequence[str | None], lengths: Ints, shared: Ints, group: Ints) -> Ints:
    """[M] the row of each parent, -1 for None. Raises UserError for one that cannot be, naming both."""
    index = {name: k for k, name in enumerate(ids)}
    rows = np.full(len(ids), -1, np.int64)
    for k, parent in enumerate(parents):
        if parent is None:
            continue
        what = f"trajectory {ids[k]!r} was branched from {parent!r}"
        up = rows[k] = index.get(parent, -1)
        if up < 0 or group[up] != group[k]:
            raise UserError(f"{what}, which is not in its group")
        if not 0 <= shared[k] <= min(lengths[k], lengths[up]):
            raise UserError(f"{what} after {shared[k]} turns, but they have {lengths[k]} and {lengths[up]}")
    ancestor = rows
    for _ in range(len(ids).bit_length()):  # each round looks twice as far up
        ancestor = np.where(ancestor >= 0, ancestor[ancestor], -1)
    if len(circle := ancestor[ancestor >= 0]):
        raise UserError(f"trajectory {ids[circle.min()]!r} is its own ancestor: its parents form a circle")
    return rows


def segment_starts(trajectories: Sequence[Trajectory]) -> list[bool]:
    """[N] whether a turn is the first of a segment: its prompt does not go on where the turn before it ended."""
    found = []
    for t in trajectories:
        first = {span[0] for span in spans(t.turns)}
        found += [i in first for i in range(len(t.turns))]
    return found


def reward_totals(trajectories: Sequence[Trajectory]) -> dict[str, list[float]]:
    """[M] the sum of each named reward; a trajectory without that name got 0."""
    names = dict.fromkeys(name for t in trajectories for turn in t.turns for name in turn.rewards)
    return {name: [sum(turn.rewards.get(name, 0.0) for turn in t.turns) for t in trajectories] for name in names}
