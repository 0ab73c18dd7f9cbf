"""One group, turn by turn: what each trajectory saw and did, and what each method gave for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl.errors import UserError, unknown
from agentrl.trainers.credit.assign import Credit
from agentrl.trainers.credit.batches import Batch, credited
from agentrl.trainers.credit.choose import Chosen
from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.table import Floats, TurnTable


@dataclass(frozen=True)
class TurnCredit:
    """``anchor_size``: turns of the group in this state, this one included; None where the state is not known."""

    turn: int
    observation: str
    action: str
    reward: float
    valid: bool
    anchor_size: int | None
    gave: dict[str, float]


@dataclass(frozen=True)
class TrajectoryCredit:
    """``excluded``: why a trajectory has no credit; its turns are then empty."""

    id: str
    outcome: float | None
    ended: str
    parent: str | None
    excluded: str | None
    turns: list[TurnCredit]


@dataclass(frozen=True)
class Explained:
    """``columns``: names of what was given, in order; the keys of each turn's ``gave``."""

    group: str
    source: str
    columns: list[str]
    trajectories: list[TrajectoryCredit]

    def plain(self) -> dict[str, Any]:
        trajectories = [{**vars(t), "turns": [dict(vars(turn)) for turn in t.turns]} for t in self.trajectories]
        return {**vars(self), "trajectories": trajectories}


def explain(batches: Sequence[Batch], chosen: Chosen, group: str, together: bool = False) -> Explained:
    """The credit of one group, by its id or its place (0, 1, ...) among all groups.

    Credit is given to whole batches, up to the one of the group, so that it is what training gave. ``together``: the
    estimators are added up, a column each and one for the sum after the modulators; else each stands alone, with its
    parts where it has several.
    """
    index, name = _find(batches, group)
    settings = [("advantage", chosen)] if together else chosen.each
    if not settings:
        raise UserError("credit explain needs at least one estimator, such as grpo")
    columns: dict[str, Floats] = {}
    table: TurnTable | None = None
    for title, one in settings:
        *_, (_, credit) = credited(batches[: index + 1], one.rewards, one.credit)
        columns |= _columns(title, credit, together)
        table = credit.table
    assert table is not None
    batch = batches[index]
    size = np.bincount(anchor_groups(table))[anchor_groups(table)]
    members = [_trajectory(batch, table, id, size, columns) for id in batch.members[name]]
    return Explained(name, batch.source, list(columns), members)


def _find(batches: Sequence[Batch], group: str) -> tuple[int, str]:
    names = [(index, name) for index, batch in enumerate(batches) for name in batch.members]
    exact = [at for at in names if at[1] == group]
    if len(exact) > 1:
        raise UserError(f"group {group!r} is in several files: {', '.join(batches[i].source for i, _ in exact)}")
    if exact:
        return exact[0]
    if group.isdecimal() and int(group) < len(names):
        return names[int(group)]
    if group.isdecimal():
        raise UserError(f"there is no group {group}: they are numbered from 0 to {len(names) - 1}")
    raise unknown("group", group, [name for _, name in names])


def _columns(title: str, credit: Credit, together: bool) -> dict[str, Floats]:
    parts = credit.parts if together or len(credit.parts) > 1 else {}
    prefix = "" if together else f"{title}: "
    return {f"{prefix}{label}": part for label, part in parts.items()} | {title: credit.advantages}


def _trajectory(
    batch: Batch, table: TurnTable, id: str, size: np.ndarray, columns: dict[str, Floats]
) -> TrajectoryCredit:
    if id in table.excluded:
        return TrajectoryCredit(id, None, table.excluded[id], None, table.excluded[id], [])
    rows = table.rows(id)
    k = int(table.trajectory[rows.start])
    turns = [
        TurnCredit(
            turn,
            saw,
            did,
            float(table.reward[row]),
            bool(table.valid[row]),
            int(size[row]) if table.anchor[row] >= 0 else None,
            {name: float(column[row]) for name, column in columns.items()},
        )
        for turn, (row, (saw, did)) in enumerate(zip(range(rows.start, rows.stop), batch.turns[id], strict=True))
    ]
    parent = table.ids[table.parent[k]] if table.parent[k] >= 0 else None
    return TrajectoryCredit(id, float(table.outcome[k]), str(table.ended[k]), parent, None, turns)
