"""From a turn table to an advantage per turn: transforms, then estimators added up, then modulators in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.trainers.credit.diagnostics import diagnose
from agentrl.trainers.credit.registry import Bound, bind
from agentrl.trainers.credit.table import PER_TOKEN, Floats, Ints, TurnTable
from agentrl.trainers.options import Spec

State = dict[str, Any]


@dataclass(frozen=True)
class Credit:
    """What credit assignment gave, and why.

    ``advantages`` [N]; ``parts``: each estimator's weighted share [N], which add up to the advantages before the
    modulators; ``diagnostics``: see :func:`agentrl.trainers.credit.diagnostics.diagnose`; ``state``: pass it to the
    next call. ``table`` is the table after the transforms. ``token_advantages`` [T]: of each sampled token, where an
    estimator gives credit by token; ``advantages`` and ``parts`` are then the means over each turn's tokens.
    """

    table: TurnTable
    advantages: Floats
    parts: dict[str, Floats]
    diagnostics: dict[str, float]
    state: State
    token_advantages: Floats | None = None

    def of(self, trajectory_id: str) -> Floats:
        """The advantages of one trajectory, one a turn. Raises KeyError where it was left out."""
        return self.advantages[self.table.rows(trajectory_id)]

    def tokens_of(self, trajectory_id: str) -> list[Floats]:
        """The advantages of one trajectory's sampled tokens, an array a turn. Raises KeyError where it was left out."""
        rows = self.table.rows(trajectory_id)
        if self.token_advantages is None:
            return [np.full(n, a) for n, a in zip(self.table.tokens[rows], self.advantages[rows], strict=True)]
        ends = np.cumsum(self.table.tokens)[rows]
        return [self.token_advantages[end - n : end] for n, end in zip(self.table.tokens[rows], ends, strict=True)]


@dataclass(frozen=True)
class Plan:
    """A checked recipe for credit: what a run refuses, it refuses here, before anything is played."""

    transforms: tuple[tuple[str, Bound], ...]
    estimators: tuple[tuple[str, Bound], ...]
    modulators: tuple[tuple[str, Bound], ...]

    @property
    def per_token(self) -> bool:
        """Whether credit is given to each sampled token, and not to each turn."""
        return any(method.plugin.per_token for _, method in self.estimators)

    @property
    def teacher(self) -> Bound | None:
        """The estimator that says what values should have been. Raises UserError where two do."""
        found = [(label, method) for label, method in self.estimators if method.plugin.targets]
        if len(found) > 1:
            raise UserError(f"{found[0][0]} and {found[1][0]} would both teach the value head: name one of them")
        return found[0][1] if found else None

    def discount(self, column: str) -> float:
        """The ``gamma`` of the estimator that needs ``column``; 1 where it has none."""
        found = [method.options.get("gamma", 1.0) for _, method in self.estimators if column in method.needs]
        return float(found[0]) if found else 1.0

    @property
    def needs(self) -> set[str]:
        """The columns of the turn table that must be filled."""
        methods = (*self.transforms, *self.estimators, *self.modulators)
        return {column for _, method in methods for column in method.needs}


def plan(rewards: Spec | Iterable[Spec] = (), credit: Spec | Iterable[Spec] = "grpo") -> Plan:
    """Resolve names and options.

    Raises UserError for an unknown one, where no estimator is named, and for a modulator that works on turns where
    credit is given to tokens.
    """
    transforms = [method for spec in _several(rewards) for method in bind(spec, ["transform"])]
    methods = [method for spec in _several(credit) for method in bind(spec, ["estimator", "modulator"])]
    estimators = [m for m in methods if m.plugin.kind == "estimator"]
    if not estimators:
        raise UserError("credit needs at least one estimator, such as grpo")
    modulators = [m for m in methods if m.plugin.kind == "modulator"]
    found = Plan(_labelled(transforms), _labelled(estimators), _labelled(modulators))
    for label, method in found.modulators if found.per_token else ():
        if not method.plugin.per_token:
            fine = next(name for name, m in found.estimators if m.plugin.per_token)
            raise UserError(f"{label} changes the advantages of turns, and {fine} gives them to tokens")
    return found


def assign(
    table: TurnTable,
    rewards: Spec | Iterable[Spec] = (),
    credit: Spec | Iterable[Spec] = "grpo",
    state: Mapping[str, Any] | None = None,
) -> Credit:
    """Give each turn of ``table`` an advantage.

    A method is ``"id"`` or ``{id: {option: value}}``; estimators take a ``weight``. ``state`` is that of the last
    call's result. Raises UserError for an unknown method or option, a column that a method needs and the table lacks
    (naming trajectory and turn), and a method that returns the wrong shape or a number that is not finite.
    """
    recipe = plan(rewards, credit)
    before, after = dict(state or {}), dict(state or {})
    for label, method in recipe.transforms:
        _require(table, method)
        table, after[label] = method(table, before.get(label))
    owner = table.token_turn if recipe.per_token else np.arange(len(table))  # the turn that each advantage belongs to
    advantages = np.zeros(len(owner))
    parts: dict[str, Floats] = {}
    for label, method in recipe.estimators:
        _require(table, method)
        found, after[label] = method(table, before.get(label))
        if method.plugin.per_token:
            share = method.weight * _checked(found, table, label, owner)
            parts[label] = _means(share, table)
        else:
            parts[label] = method.weight * _checked(found, table, label, np.arange(len(table)))
            share = parts[label][owner]
        advantages = advantages + share
    for label, method in recipe.modulators:
        _require(table, method)
        found, after[label] = method(table, advantages, before.get(label))
        advantages = _checked(found, table, label, owner)
    named = {name for _, method in (*recipe.transforms, *recipe.estimators) for name in method.reward_names}
    told = diagnose(table, sorted(named))
    if recipe.per_token:
        return Credit(table, _means(advantages, table), parts, told, after, advantages)
    return Credit(table, advantages, parts, told, after)


def _means(values: Floats, table: TurnTable) -> Floats:
    """[N] of [T]: the mean over each turn's tokens, 0 where it has none."""
    sums = np.bincount(table.token_turn, values, len(table))
    means: Floats = sums / np.maximum(table.tokens, 1)
    return means


def _several(specs: Spec | Iterable[Spec]) -> Iterable[Spec]:
    return [specs] if isinstance(specs, str | Mapping) else specs


def _labelled(methods: Sequence[Bound]) -> tuple[tuple[str, Bound], ...]:
    """Each method with its id, and ``id#2`` for a second one of the same id."""
    seen: dict[str, int] = {}
    labelled = []
    for method in methods:
        id = method.plugin.id
        seen[id] = seen.get(id, 0) + 1
        labelled.append((id if seen[id] == 1 else f"{id}#{seen[id]}", method))
    return tuple(labelled)


def _require(table: TurnTable, method: Bound) -> None:
    for name in method.needs:
        if name.startswith("score:"):
            _require_score(table, method, name.removeprefix("score:"))
            continue
        column = getattr(table, name)
        if name == "rewards" and not column and table.outcome.any():  # nobody earned anything: nothing is missing
            raise UserError(f"{method.plugin.id} needs rewards by name, and the table has none")
        if name in ("rewards", "parent"):  # -1 is a trajectory without a parent
            continue
        if name in PER_TOKEN:
            column = _of_turns(table, column)
        missing = np.isnan(column) if column.dtype == np.float64 else column < 0 if column.dtype == np.int64 else None
        if missing is not None and missing.any():
            row = int(missing.argmax())
            where = table.where(row) if len(column) == len(table) else f"trajectory {table.ids[row]!r}"
            raise UserError(f"{method.plugin.id} needs {_PLAIN.get(name, name)}, and {where} has none")


def _require_score(table: TurnTable, method: Bound, name: str) -> None:
    missing = np.isnan(table.scores.get(name, np.full(len(table), np.nan)))
    if missing.any():
        where = table.where(int(missing.argmax()))
        raise UserError(f"{method.plugin.id} needs the score {name!r} of each turn, and {where} has none")


def _of_turns(table: TurnTable, column: Floats) -> Floats:
    """[N] the mean of each turn's tokens, nan where one of them has none or there are none."""
    known = np.zeros(len(table)) if not len(column) else _means(column, table)
    return np.where((table.tokens > 0) & (len(column) > 0), known, np.nan)


_PLAIN = {
    "anchor": "a state key",
    "action": "an action",
    "entropy": "the entropies of sampled tokens",
    "logprob": "the log-probabilities of sampled tokens",
    "cost": "what its tools cost",
    "values": "the values of a critic",
    "token_values": "a critic's value of each sampled token",
    "token_rewards": "a process reward of each sampled token",
    "mc_values": "the values of continuations",
    "last_value": "the value after an episode that was cut short (bootstrap=false counts the cut as an end)",
}


def _checked(advantages: Any, table: TurnTable, label: str, owner: Ints) -> Floats:
    found = np.asarray(advantages, np.float64)
    if found.shape != owner.shape:
        what = "turn" if len(owner) == len(table) else "sampled token"
        raise UserError(f"{label} must return one advantage a {what}: shape ({len(owner)},), not {found.shape}")
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found)))
        raise UserError(f"{label} gave {found[row]} to {table.where(int(owner[row]))}")
    return found
