"""One group, turn by turn: what each trajectory saw and did, and what each method gave for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from agentrl.errors import UserError, unknown
from agentrl.trainers.credit import ledger
from agentrl.trainers.credit.assign import Credit
from agentrl.trainers.credit.batches import Batch, credited
from agentrl.trainers.credit.choose import Chosen
from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.registry import ALIASES
from agentrl.trainers.credit.table import Floats, TurnTable
from agentrl.types import grouped

if TYPE_CHECKING:
    import pandas as pd


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
    """``excluded``: why a trajectory has no credit; its turns are then empty.

    ``branch_turn``: how many turns, from the first, are its parent's.
    """

    id: str
    outcome: float | None
    ended: str
    parent: str | None
    excluded: str | None
    turns: list[TurnCredit]
    branch_turn: int = 0


@dataclass(frozen=True)
class Explained:
    """``columns``: names of what was given, in order; the keys of each turn's ``gave``.

    ``stored``: those of them that are the arrays the trainer stored; the others were worked out now.
    """

    group: str
    source: str
    columns: list[str]
    stored: list[str]
    trajectories: list[TrajectoryCredit]
    privileged: bool = False  # whether the anchors hold what no agent could know

    @property
    def origin(self) -> str:
        """Which columns are the trainer's own, and whether states were told apart by what no agent could know."""
        others = [name for name in self.columns if name not in self.stored]
        said = [f"{', '.join(self.stored)}: as the trainer stored it"] if self.stored else []
        said += [f"{', '.join(others)}: worked out now"] if others else []
        return "; ".join([*said, *(["anchors are privileged"] if self.privileged else [])])

    def tree(self) -> Iterator[tuple[int, TrajectoryCredit]]:
        """Depth and trajectory, each after what it was branched from; nothing where nothing was branched."""
        below = grouped(self.trajectories, lambda t: t.parent)
        waiting = [(0, t) for t in reversed(below[None])] if below.keys() - {None} else []
        while waiting:
            depth, t = waiting.pop()
            yield depth, t
            waiting += [(depth + 1, child) for child in reversed(below.get(t.id, []))]

    def table(self) -> pd.DataFrame:
        """A row a turn: trajectory, turn, saw, did, reward, alike, and a column for each of :attr:`columns`."""
        import pandas as pd

        return pd.DataFrame(
            {
                "trajectory": t.id,
                "turn": turn.turn,
                "saw": turn.observation,
                "did": turn.action,
                "reward": turn.reward,
                "alike": turn.anchor_size,
                **turn.gave,
            }
            for t in self.trajectories
            for turn in t.turns
        )

    def plain(self) -> dict[str, Any]:
        trajectories = [{**vars(t), "turns": [dict(vars(turn)) for turn in t.turns]} for t in self.trajectories]
        return {**vars(self), "trajectories": trajectories}


def explain(batches: Sequence[Batch], chosen: Chosen, group: str, together: bool = False) -> Explained:
    """The credit of one group, by its id or its place (0, 1, ...) among all groups.

    ``together``: the run's own methods, a column each and one for the sum after the modulators; else each estimator
    stands alone, with its parts where it has several. What the run stored is shown as stored: its own methods, and an
    estimator named without options that is one of them. Other credit is given to whole batches, up to the one of the
    group, so that it is what training would have given.
    """
    index, name = _find(batches, group)
    batch = batches[index]
    settings = [("advantage", chosen)] if together else chosen.each
    if not settings:
        raise UserError("credit explain needs at least one estimator, such as grpo")
    trained = ledger.read(batch.ledger, batch.table) if batch.ledger else None
    columns: dict[str, Floats] = {}
    stored: list[str] = []
    table = batch.table
    for title, one in settings:
        credit = _trained(trained, one, together)
        if credit is None:
            *_, (_, credit) = credited(batches[: index + 1], one.rewards, one.credit)
            found = _columns(title, credit, together)
        else:
            found = _columns(title, credit, together)
            stored += found
        columns |= found
        table = credit.table
    size = np.bincount(anchor_groups(table))[anchor_groups(table)]
    members = [_trajectory(batch, table, id, size, columns) for id in batch.members[name]]
    return Explained(name, batch.source, list(columns), stored, members, batch.table.privileged)


def _trained(trained: Credit | None, one: Chosen, together: bool) -> Credit | None:
    """What the run stored of these methods; None where it stored nothing of them, or they are changed."""
    if trained is None or together:
        return trained
    [spec, *others] = (*one.credit, *one.rewards)
    id, options = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
    labels = ALIASES.get(id, (id,))
    if options or others or not set(labels) <= set(trained.parts):
        return None
    parts = {label: trained.parts[label] for label in labels}
    return replace(trained, parts=parts, advantages=np.sum(list(parts.values()), axis=0))


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
    return TrajectoryCredit(
        id, float(table.outcome[k]), str(table.ended[k]), parent, None, turns, int(table.branch_turn[k])
    )
