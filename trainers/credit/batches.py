"""Stored trajectories as turn tables to give credit to again: a run folder, Parquet files, or JSON lines.

A batch is what one call of :func:`assign` saw or will see: an iteration of a run, a Parquet file, a file of JSON
lines. State that a method keeps goes from one to the next, as in training.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agentrl.errors import UserError, unknown
from agentrl.store import read
from agentrl.store.files import files_of
from agentrl.trainers.credit.assign import Credit, Plan, assign, plan
from agentrl.trainers.credit.columns import action_of, text_of
from agentrl.trainers.credit.ledger import trained
from agentrl.trainers.credit.table import TurnTable
from agentrl.trainers.options import Spec
from agentrl.types import Group


@dataclass(frozen=True)
class Batch:
    """A turn table with what people want to read beside it. Nothing here is in any method's reach."""

    source: str
    table: TurnTable
    members: Mapping[str, Sequence[str]]  # group -> ids of its trajectories as they are stored, failed ones too
    turns: Mapping[str, Sequence[tuple[str, str]]]  # trajectory -> what it saw and did, a turn each
    lines: Mapping[str, int] = field(default_factory=dict)  # trajectory -> its line, where the source has lines
    ledger: Path | None = None  # what training gave, where a run stored it

    @property
    def ids(self) -> list[str]:
        return [id for members in self.members.values() for id in members]


def placed(source: str, lines: Mapping[str, int], message: str) -> str:
    """``message`` about a trajectory with file, and line where there is one, in front."""
    named = re.search(r"""trajectory (['"])(.*?)\1""", message)
    line = lines.get(named.group(2)) if named else None
    return f"{source}{'' if line is None else f', line {line}'}: {message}"


def batches(path: str | Path) -> list[Batch]:
    """The batches of a run folder, a folder of Parquet files, a Parquet file or a file of JSON lines.

    Raises UserError, with the file, where there is none, it is damaged, or it holds what cannot be given credit.
    """
    from agentrl.trainers.credit.jsonl import read_lines

    path, files = Path(path), files_of(path)
    if files[0].suffix != ".parquet":
        return [read_lines(path)]
    anchor = recipe_of(path).get("anchor", "state_key")
    return [_of_groups(file, read(file), anchor, path / "credit" / file.name) for file in files]


def recipe_of(path: str | Path) -> dict[str, Any]:
    """The recipe of a run folder; empty for anything else."""
    file = Path(path) / "recipe.yaml"
    if not file.is_file():
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        raise UserError(f"{file} is damaged") from None
    if not isinstance(found, dict):
        raise UserError(f"{file} is damaged")
    return found


def credited(found: Sequence[Batch], rewards: Sequence[Spec], credit: Sequence[Spec]) -> Iterator[tuple[Batch, Credit]]:
    """Each batch with its credit. Raises UserError as :func:`assign` does, with the file in front."""
    methods = plan(rewards, credit)
    state: Mapping[str, Any] = {}
    for batch in found:
        if batch.lines:  # lines name every reward; in what was played one that nobody earned is absent
            _refuse_unknown_rewards(batch, methods)
        try:
            given = assign(batch.table, rewards, credit, state)
        except UserError as error:
            raise UserError(placed(batch.source, batch.lines, str(error))) from None
        state = given.state
        yield batch, given


def _refuse_unknown_rewards(batch: Batch, methods: Plan) -> None:
    for label, method in (*methods.transforms, *methods.estimators):
        for name in method.reward_names:
            if name not in batch.table.rewards:
                error = unknown(f"reward named by {label}", name, batch.table.rewards)
                raise UserError(f"{batch.source}: {error}")


def batch_of(groups: Sequence[Group], anchor: str = "state_key") -> Batch:
    """Groups in memory as a batch. Raises UserError where none of their trajectories can be used."""
    return _of_groups("memory", groups, anchor)


def _of_groups(source: Path | str, groups: Sequence[Group], anchor: str, ledger: Path | None = None) -> Batch:
    stored = ledger if ledger is not None and ledger.exists() else None
    for group in groups:
        if not len(group):
            raise UserError(f"{source}: group {group.id!r} has no trajectories")
    try:
        table = trained(stored, groups, anchor) if stored else TurnTable.from_groups(groups, anchor)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    if not len(table):
        raise UserError(f"{source}: no trajectory can be used: {dict(table.excluded)}")
    return Batch(
        str(source),
        table,
        {group.id: [t.id for t in group] for group in groups},
        {t.id: [(text_of(turn.observation), action_of(turn)) for turn in t.turns] for g in groups for t in g},
        ledger=stored,
    )
