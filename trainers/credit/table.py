"""The turn table: what credit assignment sees. Plain columns, unpadded, float64, in an order of its own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.errors import UserError
from agentrl.types import Group, Observation, StopReason, Trajectory, Turn

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Anchor = str | Callable[[Turn], Hashable]


@dataclass(frozen=True, eq=False)
class TurnTable:
    """N turns of M trajectories, sorted by (task, group, trajectory id, turn); all arrays are read-only.

    Missing values are nan (``entropy``) or -1 (``anchor``). Interned columns (``anchor``, ``observation``, ``group``,
    ``task``) compare for equality only; ``anchor`` and ``observation`` count over the whole table, so methods that
    compare within a group combine them with ``group``.
    """

    # one entry a turn [N]
    trajectory: Ints  # row of the per-trajectory columns
    turn: Ints  # 0, 1, ... within its trajectory
    reward: Floats
    penalty: Floats  # taken off a row's own score and return, after discounting; see invalid_penalty.py
    valid: Bools
    anchor: Ints  # turns with equal anchors are comparable
    observation: Ints  # index into ``texts``
    tokens: Ints  # sampled tokens
    entropy: Floats  # mean over the sampled tokens, in nats
    tool_calls: Ints
    cost: Floats

    # one entry a trajectory [M]
    group: Ints
    task: Ints
    outcome: Floats  # the total reward
    success: Bools
    length: Ints  # turns
    ended: npt.NDArray[np.str_]  # a StopReason
    ids: tuple[str, ...]

    texts: tuple[str, ...] = ()  # distinct observations
    excluded: Mapping[str, str] = dataclasses.field(default_factory=dict)  # trajectory id -> why it is not here

    def __post_init__(self) -> None:
        for name, dtype in _PER_TURN.items():
            self._freeze(name, dtype, len(self.trajectory))
        for name, dtype in _PER_TRAJECTORY.items():
            self._freeze(name, dtype, len(self.ids))
        for name in ("reward", "penalty"):
            self._finite(name, lambda i: f", turn {self.turn[i]}", self.trajectory)
        self._finite("outcome", lambda i: "", np.arange(len(self.ids)))

    def __len__(self) -> int:
        return len(self.trajectory)

    @cached_property
    def start(self) -> Ints:
        """[M] the row of each trajectory's first turn."""
        return np.cumsum(self.length) - self.length

    @cached_property
    def turn_group(self) -> Ints:
        """[N] the group of each turn."""
        return self.group[self.trajectory]

    def rows(self, trajectory_id: str) -> slice:
        """The rows of one trajectory, in turn order. Raises KeyError where it is not in the table."""
        k = self._index[trajectory_id]
        return slice(int(self.start[k]), int(self.start[k] + self.length[k]))

    def where(self, row: int) -> str:
        """``trajectory 'a', turn 3``, for messages."""
        return f"trajectory {self.ids[self.trajectory[row]]!r}, turn {self.turn[row]}"

    @classmethod
    def from_groups(cls, groups: Iterable[Group], anchor: Anchor = "state_key") -> TurnTable:
        """The turns of all trusted trajectories.

        A trajectory whose reward says nothing about the policy (``trusted`` is false) or that has no turns is left
        out of every statistic and named in ``excluded``. ``anchor``: what makes two turns comparable: ``state_key``,
        ``observation`` (as the published GiGPO code has it) or a function of a turn; turns without one get -1.
        """
        key = _anchor(anchor)
        kept: list[tuple[Group, Trajectory]] = []
        excluded: dict[str, str] = {}
        for group in groups:
            for t in group:
                if not t.trusted:
                    excluded[t.id] = t.stop.value
                elif not t.turns:
                    excluded[t.id] = "no turns"
                else:
                    kept.append((group, t))
        turns = [turn for _, t in kept for turn in t.turns]
        return cls.from_arrays(
            ids=[t.id for _, t in kept],
            group=[g.id for g, _ in kept],
            task=[(t.task.key, repr(t.task.kwargs)) for _, t in kept],
            length=[len(t.turns) for _, t in kept],
            outcome=[t.reward for _, t in kept],
            success=[t.success for _, t in kept],
            ended=[t.stop.value for _, t in kept],
            reward=[turn.reward for turn in turns],
            valid=[turn.valid for turn in turns],
            anchor=[key(turn) for turn in turns],
            observation=[_text(turn.observation) for turn in turns],
            tokens=[len(turn.completion_ids) for turn in turns],
            entropy=[float(np.mean(turn.entropies)) if len(turn.entropies) else np.nan for turn in turns],
            tool_calls=[len(turn.tool_calls) for turn in turns],
            cost=[sum(call.cost for call in turn.tool_calls) for turn in turns],
            excluded=excluded,
        )

    @classmethod
    def from_arrays(
        cls,
        *,
        ids: Sequence[str],
        group: Sequence[str],
        length: Sequence[int],
        reward: Sequence[float],
        task: Sequence[Any] | None = None,
        outcome: Sequence[float] | None = None,
        success: Sequence[bool] | None = None,
        ended: Sequence[str] | None = None,
        anchor: Sequence[Hashable | None] | None = None,
        observation: Sequence[str] | None = None,
        excluded: Mapping[str, str] | None = None,
        **columns: Any,
    ) -> TurnTable:
        """A table from columns in any order of trajectories: ``ids, group, length ...`` [M], the rest [N].

        Turns lie trajectory after trajectory, in time order. Left out: ``outcome`` is the sum of rewards, ``success``
        a positive outcome, ``task`` the group; ``columns`` are penalty, valid, tokens, entropy, tool_calls, cost.
        Raises UserError for a reward or outcome that is nan or infinite (naming trajectory and turn), a trajectory
        id that occurs twice, and a trajectory without turns.
        """
        m, lengths = len(ids), np.asarray(length, np.int64)
        _reject_duplicates(ids)
        if m and lengths.min() < 1:
            raise UserError(f"trajectory {ids[int(lengths.argmin())]!r} has no turns")
        tasks: Sequence[Any] = group if task is None else task
        order = np.array(sorted(range(m), key=lambda k: (tasks[k], group[k], ids[k])), np.int64)
        first = np.cumsum(lengths) - lengths
        trajectory = np.repeat(np.arange(m), lengths[order])
        turn = np.arange(len(trajectory)) - np.repeat(np.cumsum(lengths[order]) - lengths[order], lengths[order])
        row = np.repeat(first[order], lengths[order]) + turn
        n = len(row)

        rewards = np.asarray(reward, np.float64)
        totals = np.bincount(np.repeat(np.arange(m), lengths), rewards, m) if outcome is None else outcome
        outcomes = np.asarray(totals, np.float64)[order]
        texts: dict[Hashable, int] = {}
        defaults = {"penalty": 0.0, "valid": True, "tokens": 0, "entropy": np.nan, "tool_calls": 0, "cost": 0.0}
        given = {k: np.asarray(columns.get(k, np.full(n, v)))[row] for k, v in defaults.items()}
        if stray := set(columns) - set(defaults):
            raise TypeError(f"no such column: {sorted(stray)}")
        return cls(
            trajectory=trajectory,
            turn=turn,
            reward=rewards[row],
            anchor=_intern([anchor[i] for i in row] if anchor is not None else [None] * n, {}),
            observation=_intern([observation[i] for i in row] if observation is not None else [None] * n, texts),
            group=_intern([(tasks[k], group[k]) for k in order], {}),
            task=_intern([tasks[k] for k in order], {}),
            outcome=outcomes,
            success=outcomes > 0 if success is None else np.asarray(success, bool)[order],
            length=lengths[order],
            ended=np.asarray(ended if ended is not None else [StopReason.TERMINATED.value] * m, np.str_)[order],
            ids=tuple(ids[k] for k in order),
            texts=tuple(str(text) for text in texts),
            excluded=dict(excluded or {}),
            **given,
        )

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.ids)}

    def _freeze(self, name: str, dtype: type, length: int) -> None:
        column: npt.NDArray[Any] = np.asarray(getattr(self, name), dtype).view()
        if column.shape != (length,):
            raise ValueError(f"column {name} of a turn table needs shape ({length},), not {column.shape}")
        column.setflags(write=False)
        object.__setattr__(self, name, column)

    def _finite(self, name: str, turn: Callable[[int], str], trajectory: Ints) -> None:
        column = getattr(self, name)
        if not np.isfinite(column).all():
            i = int(np.argmin(np.isfinite(column)))
            raise UserError(f"{name} of trajectory {self.ids[trajectory[i]]!r}{turn(i)} is {column[i]}")


_PER_TURN: dict[str, type] = {
    "trajectory": np.int64,
    "turn": np.int64,
    "reward": np.float64,
    "penalty": np.float64,
    "valid": np.bool_,
    "anchor": np.int64,
    "observation": np.int64,
    "tokens": np.int64,
    "entropy": np.float64,
    "tool_calls": np.int64,
    "cost": np.float64,
}
_PER_TRAJECTORY: dict[str, type] = {
    "group": np.int64,
    "task": np.int64,
    "outcome": np.float64,
    "success": np.bool_,
    "length": np.int64,
    "ended": np.str_,
}
COLUMNS = (*_PER_TURN, *_PER_TRAJECTORY)


def _anchor(anchor: Anchor) -> Callable[[Turn], Hashable]:
    if callable(anchor):
        return anchor
    if anchor == "state_key":
        return lambda turn: turn.state_key or None
    if anchor == "observation":
        return lambda turn: _text(turn.observation)
    raise UserError(f"anchor must be state_key, observation or a function of a turn, not {anchor!r}")


def _text(observation: Observation) -> str:
    return observation if isinstance(observation, str) else json.dumps(observation, sort_keys=True, ensure_ascii=False)


def _intern(values: Iterable[Hashable | None], seen: dict[Hashable, int]) -> Ints:
    """Number values in the order of their first appearance; None becomes -1. ``seen`` is filled."""
    return np.array([-1 if v is None else seen.setdefault(v, len(seen)) for v in values], np.int64)


def _reject_duplicates(ids: Sequence[str]) -> None:
    if len(set(ids)) != len(ids):
        twice = next(name for k, name in enumerate(ids) if name in ids[:k])
        raise UserError(f"trajectory id {twice!r} occurs twice")
