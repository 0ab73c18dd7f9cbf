"""Conditions on stored trajectories: ``success=false``, ``n_turns<10``, ``task~spatula``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from agentrl import store
from agentrl.errors import UserError, unknown
from agentrl.store.files import files_of
from agentrl.store.frames import Trajectories
from agentrl.store.schema import TRAJECTORY
from agentrl.types import Group

_CONDITION = re.compile(r"(\w+)\s*(!=|<=|>=|=|<|>|~)\s*(.*)", re.DOTALL)
_COMPARE = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}


def matching(table: Any, conditions: Sequence[str]) -> Any:
    """The rows of a table of flat columns that all conditions hold for; ``~`` looks for a text in a column's text.

    Raises UserError for a condition that is none, a column that is not there, and a value that is not of its type.
    """
    for condition in conditions:
        match = _CONDITION.fullmatch(condition.strip())
        if match is None:
            raise UserError(f"{condition!r} is no condition; they look like success=true, n_turns<10, task~spatula")
        name, sign, text = match.groups()
        if name not in TRAJECTORY:
            raise unknown("column", name, TRAJECTORY)
        column = table[name]
        if sign == "~":
            found = pc.match_substring(column.cast(pa.string()), text, ignore_case=True)
        else:
            found = _COMPARE[sign](column, _value(name, text))
        table = table.filter(pc.fill_null(found, False))
    return table


def selected(path: Path, conditions: Sequence[str]) -> list[tuple[Path, list[Group]]]:
    """File by file, the groups with the trajectories that all conditions hold for; groups left empty are gone."""
    found = []
    for file in files_of(path):
        wanted = set(matching(Trajectories(file).table(), conditions)["id"].to_pylist())
        if wanted:
            groups = [Group(g.task, g.id, [t for t in g if t.id in wanted]) for g in store.read(file)]
            found.append((file, [group for group in groups if len(group)]))
    return found


def _value(name: str, text: str) -> Any:
    kind = TRAJECTORY[name]
    try:
        if kind == pa.bool_():
            return pa.scalar({"true": True, "false": False}[text.lower()])
        return pa.scalar(text).cast(kind)
    except (KeyError, pa.ArrowInvalid):
        raise UserError(f"{name} is of type {kind}, which {text!r} is not") from None
