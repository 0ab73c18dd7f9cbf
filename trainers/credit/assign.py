"""From a turn table to an advantage per turn: transforms, then estimators added up, then modulators in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.errors import UserError
from agentrl.trainers.credit.diagnostics import diagnose
from agentrl.trainers.credit.registry import Bound, bind
from agentrl.trainers.credit.table import Floats, TurnTable
from agentrl.trainers.options import Spec

State = dict[str, Any]


@dataclass(frozen=True)
class Credit:
    """What credit assignment gave, and why.

    ``advantages`` [N]; ``parts``: each estimator's weighted share [N], which add up to the advantages before the
    modulators; ``diagnostics``: see :func:`agentrl.trainers.credit.diagnostics.diagnose`; ``state``: pass it to the
    next call. ``table`` is the table after the transforms.
    """

    table: TurnTable
    advantages: Floats
    parts: dict[str, Floats]
    diagnostics: dict[str, float]
    state: State

    def of(self, trajectory_id: str) -> Floats:
        """The advantages of one trajectory, one a turn. Raises KeyError where it was left out."""
        return self.advantages[self.table.rows(trajectory_id)]


@dataclass(frozen=True)
class Plan:
    """A checked recipe for credit: what a run refuses, it refuses here, before anything is played."""

    transforms: tuple[tuple[str, Bound], ...]
    estimators: tuple[tuple[str, Bound], ...]
    modulators: tuple[tuple[str, Bound], ...]

    @property
    def needs(self) -> set[str]:
        """The columns of the turn table that must be filled."""
        methods = (*self.transforms, *self.estimators, *self.modulators)
        return {column for _, method in methods for column in method.needs}


def plan(rewards: Spec | Iterable[Spec] = (), credit: Spec | Iterable[Spec] = "grpo") -> Plan:
    """Resolve names and options. Raises UserError for an unknown one, or where no estimator is named."""
    transforms = [method for spec in _several(rewards) for method in bind(spec, ["transform"])]
    methods = [method for spec in _several(credit) for method in bind(spec, ["estimator", "modulator"])]
    estimators = [m for m in methods if m.plugin.kind == "estimator"]
    if not estimators:
        raise UserError("credit needs at least one estimator, such as grpo")
    modulators = [m for m in methods if m.plugin.kind == "modulator"]
    return Plan(_labelled(transforms), _labelled(estimators), _labelled(modulators))


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
    advantages = np.zeros(len(table))
    parts: dict[str, Floats] = {}
    for label, method in recipe.estimators:
        _require(table, method)
        found, after[label] = method(table, before.get(label))
        parts[label] = method.weight * _checked(found, table, label)
        advantages = advantages + parts[label]
    for label, method in recipe.modulators:
        _require(table, method)
        found, after[label] = method(table, advantages, before.get(label))
        advantages = _checked(found, table, label)
    named = {name for _, method in (*recipe.transforms, *recipe.estimators) for name in method.reward_names}
    return Credit(table, advantages, parts, diagnose(table, sorted(named)), after)


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


_PLAIN = {
    "anchor": "a state key",
    "action": "an action",
    "entropy": "the entropies of sampled tokens",
    "logprob": "the log-probabilities of sampled tokens",
    "cost": "what its tools cost",
}


def _checked(advantages: Any, table: TurnTable, label: str) -> Floats:
    found = np.asarray(advantages, np.float64)
    if found.shape != (len(table),):
        raise UserError(f"{label} must return one advantage a turn: shape ({len(table)},), not {found.shape}")
    if not np.isfinite(found).all():
        row = int(np.argmin(np.isfinite(found)))
        raise UserError(f"{label} gave {found[row]} to {table.where(row)}")
    return found
