"""The turn table: what credit assignment sees. Plain columns, unpadded, float64, in an order of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.errors import UserError
from agentrl.trainers.credit.anchors import Anchor, anchors_of
from agentrl.trainers.credit.columns import (
    Bools,
    Floats,
    Ints,
    action_of,
    after_end,
    fill_next,
    intern,
    mean,
    parent_rows,
    reject_duplicates,
    reward_totals,
    segment_starts,
    text_of,
)
from agentrl.trainers.credit.scores import turn_scores
from agentrl.types import Group, StopReason, Trajectory

__all__ = ["COLUMNS", "LARGEST", "Anchor", "Bools", "Floats", "Ints", "TurnTable"]

LARGEST = 1e100  # of rewards: the squares of a million of them still add up to a number


@dataclass(frozen=True, eq=False)
class TurnTable:
    """N turns of M trajectories, sorted by (task, group, trajectory id, turn); all arrays are read-only.

    Missing values are nan (``entropy``, ``cost``, ``values``, ``scores`` and the like) or -1 (``anchor``, ``action``).
    Interned columns (``anchor``, ``next_anchor``, ``action``, ``observation``, ``group``, ``task``) compare for
    equality only; those of turns count over the whole table, so methods that compare within a group combine them with
    ``group``.
    """

    # one entry a turn [N]
    trajectory: Ints  # row of the per-trajectory columns
    turn: Ints  # 0, 1, ... within its trajectory
    reward: Floats
    penalty: Floats  # taken off a row's own score and return, after discounting; see invalid_penalty.py
    valid: Bools
    anchor: Ints  # turns with equal anchors are comparable
    next_anchor: Ints  # the next turn's anchor; after the last turn that of a win or a loss, -1 where it was cut short
    action: Ints  # what was done, tool calls as JSON with sorted keys; the text where it was not an action
    observation: Ints  # index into ``texts``
    tokens: Ints  # sampled tokens
    starts_segment: Bools  # whether its prompt does not go on where the turn before ended
    entropy: Floats  # mean over the sampled tokens, in nats
    logprob: Floats  # mean over the sampled tokens, natural log, of the policy that sampled
    tool_calls: Ints
    cost: Floats  # what the tools say they cost
    values: Floats  # what a critic expects from the state before the turn on
    mc_values: Floats  # the same, as the mean return of continuations from that state
    mc_error: Floats  # standard error of that mean

    # one entry a trajectory [M]
    group: Ints
    task: Ints  # index into ``task_names``
    outcome: Floats  # the total reward
    success: Bools
    length: Ints  # turns
    ended: npt.NDArray[np.str_]  # a StopReason
    parent: Ints  # row of the trajectory this one was branched from, -1 for none
    branch_turn: Ints  # how many turns, from the first, it shares with its parent
    branch_token: Ints  # and how many tokens of the reply after them
    last_value: Floats  # of the state after the last turn: 0 where nothing can follow
    ids: tuple[str, ...]

    # [T] what a critic expects before each sampled token; empty where that is not known
    token_values: Floats = dataclasses.field(default_factory=lambda: np.zeros(0))
    token_rewards: Floats = dataclasses.field(default_factory=lambda: np.zeros(0))  # [T] of a process reward model
    rewards: Mapping[str, Floats] = dataclasses.field(default_factory=dict)  # by name, totals [M]
    scores: Mapping[str, Floats] = dataclasses.field(default_factory=dict)  # by name [N]; see scores.py
    texts: tuple[str, ...] = ()  # distinct observations
    task_names: tuple[str, ...] = ()  # distinct tasks, the same from one table to the next
    excluded: Mapping[str, str] = dataclasses.field(default_factory=dict)  # trajectory id -> why it is not here
    privileged: bool = False  # whether the anchors hold what no agent could know

    def __post_init__(self) -> None:
        for name, dtype in _DECLARED.items():
            self._freeze(name, dtype, len(self.ids if name in _PER_TRAJECTORY else self.trajectory))
        for name in PER_TOKEN:
            self._freeze(name, np.float64, len(self.token_turn) if len(getattr(self, name)) else 0)
        object.__setattr__(self, "rewards", {name: _frozen(name, r, len(self.ids)) for name, r in self.rewards.items()})
        object.__setattr__(self, "scores", {name: _frozen(name, s, len(self)) for name, s in self.scores.items()})
        for name in ("reward", "penalty"):
            self._bounded(name, getattr(self, name), self.where)
        self._bounded("outcome", self.outcome, self._whose)
        for name, totals in self.rewards.items():
            self._bounded(f"reward {name!r}", totals, self._whose)

    def __len__(self) -> int:
        return len(self.trajectory)

    @cached_property
    def start(self) -> Ints:
        """[M] the row of each trajectory's first turn."""
        return np.cumsum(self.length) - self.length

    @cached_property
    def token_turn(self) -> Ints:
        """[T] the turn (row) of each sampled token, in the order of the table."""
        return np.repeat(np.arange(len(self)), self.tokens)

    @cached_property
    def first_token(self) -> Ints:
        """[N] the number of each turn's first sampled token."""
        return np.cumsum(self.tokens) - self.tokens

    @cached_property
    def turn_group(self) -> Ints:
        """[N] the group of each turn."""
        return self.group[self.trajectory]

    def rows(self, trajectory_id: str) -> slice:
        """The rows of one trajectory, in turn order. Raises KeyError where it is not in the table."""
        k = self._index[trajectory_id]
        return slice(int(self.start[k]), int(self.start[k] + self.length[k]))

    def total(self, values: npt.ArrayLike) -> Floats:
        """[M] the sum over each trajectory's turns of ``values`` [N]."""
        return np.bincount(self.trajectory, values, len(self.ids)).astype(np.float64)

    def where(self, row: int) -> str:
        """``trajectory 'a', turn 3``, for messages."""
        return f"trajectory {self.ids[self.trajectory[row]]!r}, turn {self.turn[row]}"

    @classmethod
    def from_groups(cls, groups: Iterable[Group], anchor: Anchor = "state_key") -> TurnTable:
        """The turns of all trusted trajectories.

        A trajectory whose reward says nothing about the policy (``trusted`` is false) or that has no turns is left
        out of every statistic and named in ``excluded``. ``anchor``: what makes two turns comparable: one of
        :data:`agentrl.trainers.credit.anchors.ANCHORS` or a function of a turn; turns without one get -1.
        """
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
            anchor=anchors_of([t for _, t in kept], anchor),
            action=[action_of(turn) for turn in turns],
            observation=[text_of(turn.observation) for turn in turns],
            tokens=[len(turn.completion_ids) for turn in turns],
            starts_segment=segment_starts([t for _, t in kept]),
            entropy=[mean(turn.entropies) for turn in turns],
            tool_calls=[len(turn.tool_calls) for turn in turns],
            cost=[sum(call.cost for call in turn.tool_calls) for turn in turns],
            logprob=[mean(turn.logprobs) for turn in turns],
            scores=turn_scores([t for _, t in kept]),
            parent=[None if t.parent in excluded else t.parent for _, t in kept],
            branch_turn=[t.branch_turn or 0 for _, t in kept],
            branch_token=[t.branch_token or 0 for _, t in kept],
            rewards=reward_totals([t for _, t in kept]),
            excluded=excluded,
            privileged=anchor == "privileged",
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
        next_anchor: Sequence[Hashable | None] | None = None,
        action: Sequence[Hashable | None] | None = None,
        parent: Sequence[str | None] | None = None,
        branch_turn: Sequence[int] | None = None,
        branch_token: Sequence[int] | None = None,
        rewards: Mapping[str, Sequence[float]] | None = None,
        scores: Mapping[str, npt.ArrayLike] | None = None,
        observation: Sequence[str] | None = None,
        last_value: Sequence[float] | None = None,
        token_values: Sequence[Sequence[float]] | None = None,
        token_rewards: Sequence[Sequence[float]] | None = None,
        excluded: Mapping[str, str] | None = None,
        privileged: bool = False,
        **columns: Any,
    ) -> TurnTable:
        """A table from columns in any order of trajectories: ``ids, group, length ...`` [M], the rest [N].

        Turns lie trajectory after trajectory, in time order. Left out: ``outcome`` is the sum of rewards, ``success``
        a positive outcome, ``task`` the group, ``next_anchor`` the anchor of the turn after; ``parent`` holds ids,
        ``rewards`` one [M] a name; ``scores`` one [N] a name; ``last_value`` is 0 where an episode came to an end;
        ``token_values`` and ``token_rewards`` hold one sequence a turn; ``columns`` are the other ones of turns.
        Raises UserError for a reward or outcome that is nan, infinite or beyond :data:`LARGEST` (naming trajectory and
        turn), a trajectory id that occurs twice, a trajectory without turns and a parent that cannot be one.
        """
        m, lengths = len(ids), np.asarray(length, np.int64)
        reject_duplicates(ids)
        if m and lengths.min() < 1:
            raise UserError(f"trajectory {ids[int(lengths.argmin())]!r} has no turns")
        tasks: Sequence[Any] = group if task is None else task
        order = np.array(sorted(range(m), key=lambda k: (tasks[k], group[k], ids[k])), np.int64)
        first = np.cumsum(lengths) - lengths
        trajectory = np.repeat(np.arange(m), lengths[order])
        turn = np.arange(len(trajectory)) - np.repeat(np.cumsum(lengths[order]) - lengths[order], lengths[order])
        row = np.repeat(first[order], lengths[order]) + turn
        n = len(row)

        step = np.asarray(reward, np.float64)
        totals = np.bincount(np.repeat(np.arange(m), lengths), step, m) if outcome is None else outcome
        outcomes = np.asarray(totals, np.float64)[order]
        won = outcomes > 0 if success is None else np.asarray(success, bool)[order]
        stops = np.asarray(ended if ended is not None else [StopReason.TERMINATED.value] * m, np.str_)[order]
        groups = intern([(tasks[k], group[k]) for k in order], {})
        above = [parent[k] for k in order] if parent is not None else [None] * m
        shared = np.asarray(branch_turn if branch_turn is not None else [0] * m, np.int64)[order]
        states = [anchor[i] for i in row] if anchor is not None else [None] * n
        after = [next_anchor[i] for i in row] if next_anchor is not None else [None] * n
        if anchor is not None:
            fill_next(after, states, np.cumsum(lengths[order]) - 1, won, stops)
        numbers: dict[Hashable, int] = {}
        texts: dict[Hashable, int] = {}
        names: dict[Hashable, int] = {}
        given = {k: np.asarray(columns.get(k, np.full(n, v)))[row] for k, v in _DEFAULTS.items()}
        if stray := set(columns) - set(_DEFAULTS):
            raise TypeError(f"no such column: {sorted(stray)}")
        return cls(
            trajectory=trajectory,
            turn=turn,
            starts_segment=given.pop("starts_segment").astype(bool) | (turn == 0),
            reward=step[row],
            anchor=intern(states, numbers),
            next_anchor=intern(after, numbers),
            action=intern([action[i] for i in row] if action is not None else [None] * n, {}),
            observation=intern([observation[i] for i in row] if observation is not None else [None] * n, texts),
            group=groups,
            task=intern([str(tasks[k]) for k in order], names),
            outcome=outcomes,
            success=won,
            length=lengths[order],
            ended=stops,
            parent=parent_rows([ids[k] for k in order], above, lengths[order], shared, groups),
            branch_turn=shared,
            branch_token=np.asarray(branch_token if branch_token is not None else [0] * m, np.int64)[order],
            last_value=after_end(stops) if last_value is None else np.asarray(last_value, np.float64)[order],
            token_values=_joined(token_values, row),
            token_rewards=_joined(token_rewards, row),
            ids=tuple(ids[k] for k in order),
            rewards={name: np.asarray(values, np.float64)[order] for name, values in (rewards or {}).items()},
            scores={name: np.asarray(values, np.float64)[row] for name, values in (scores or {}).items()},
            texts=tuple(str(text) for text in texts),
            task_names=tuple(str(name) for name in names),
            excluded=dict(excluded or {}),
            privileged=privileged,
            **given,
        )

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.ids)}

    def _freeze(self, name: str, dtype: type, length: int) -> None:
        object.__setattr__(self, name, _frozen(name, getattr(self, name), length, dtype))

    def _whose(self, k: int) -> str:
        return f"trajectory {self.ids[k]!r}"

    def _bounded(self, name: str, column: Floats, where: Callable[[int], str]) -> None:
        sound = np.abs(column) <= LARGEST
        if not sound.all():
            i = int(np.argmin(sound))
            why = f", beyond {LARGEST:g}: no mean can be taken of it" if np.isfinite(column[i]) else ""
            raise UserError(f"{name} of {where(i)} is {column[i]}{why}")


PER_TOKEN = ("token_values", "token_rewards")
_PER_TRAJECTORY = (
    "group", "task", "outcome", "success", "length", "ended", "parent", "branch_turn", "branch_token", "last_value",
)  # fmt: skip
_TYPES: dict[str, type] = {"Ints": np.int64, "Floats": np.float64, "Bools": np.bool_, "npt.NDArray[np.str_]": np.str_}
# columns of turns and of trajectories, with the types that the class declares
_DECLARED: dict[str, type] = {
    field.name: _TYPES[str(field.type)]
    for field in dataclasses.fields(TurnTable)
    if field.type in _TYPES and field.name not in PER_TOKEN
}
COLUMNS = (*_DECLARED, *PER_TOKEN, "rewards")
_DEFAULTS: dict[str, Any] = {
    "penalty": 0.0,
    "valid": True,
    "tokens": 0,
    "starts_segment": False,
    "entropy": np.nan,
    "logprob": np.nan,
    "tool_calls": 0,
    "cost": 0.0,
    "values": np.nan,
    "mc_values": np.nan,
    "mc_error": np.nan,
}


def _joined(parts: Sequence[Sequence[float]] | None, row: Ints) -> Floats:
    return np.concatenate([np.zeros(0), *(parts[i] for i in row)]) if parts else np.zeros(0)


def _frozen(name: str, values: npt.ArrayLike, length: int, dtype: type = np.float64) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = np.asarray(values, dtype).view()
    if column.shape != (length,):
        raise ValueError(f"column {name} of a turn table needs shape ({length},), not {column.shape}")
    column.setflags(write=False)
    return column
