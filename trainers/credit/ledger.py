"""What credit assignment gave in each iteration, on disk: a Parquet file an iteration, a row a turn.

Columns: ``trajectory``, ``turn``; ``advantage``; ``token_advantages`` of its sampled tokens, null where credit was
given by turn; ``parts``: the weighted share of each estimator by name; ``reward``, ``penalty`` and ``outcome`` (the
trajectory's) after the transforms; what scorers gave: ``values``, ``token_values``, ``token_rewards``, ``mc_values``,
``mc_error``, ``last_value`` (the trajectory's); ``scores`` by name. All numbers are float64, as they were given.
Trajectories that were left out have no rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from agentrl import store
from agentrl.errors import UserError
from agentrl.trainers.credit.assign import Credit
from agentrl.trainers.credit.table import PER_TOKEN, Anchor, Floats, TurnTable
from agentrl.types import Group

_TOKENS = pa.list_(pa.float64())
SCHEMA = pa.schema(
    {
        "trajectory": pa.string(),
        "turn": pa.int64(),
        "advantage": pa.float64(),
        "token_advantages": _TOKENS,
        "parts": pa.map_(pa.string(), pa.float64()),
        "reward": pa.float64(),
        "penalty": pa.float64(),
        "outcome": pa.float64(),
        "values": pa.float64(),
        "token_values": _TOKENS,
        "token_rewards": _TOKENS,
        "mc_values": pa.float64(),
        "mc_error": pa.float64(),
        "last_value": pa.float64(),
        "scores": pa.map_(pa.string(), pa.float64()),
    }
)
_OF_TURNS = ("values", "mc_values", "mc_error")


def write(folder: Path, name: str, credit: Credit) -> Path:
    """Write ``folder/name.parquet``, whole or not at all, and return its path."""
    table = credit.table
    named = {label: share.tolist() for label, share in credit.parts.items()}
    scores = {name: column.tolist() for name, column in table.scores.items()}
    columns = {
        "trajectory": [table.ids[k] for k in table.trajectory],
        "turn": table.turn,
        "advantage": credit.advantages,
        "token_advantages": _by_turn(credit.token_advantages, table),
        "parts": [[(label, share[i]) for label, share in named.items()] for i in range(len(table))],
        "reward": table.reward,
        "penalty": table.penalty,
        "outcome": table.outcome[table.trajectory],
        **{column: getattr(table, column) for column in _OF_TURNS},
        **{name: _by_turn(getattr(table, name), table) for name in PER_TOKEN},
        "last_value": table.last_value[table.trajectory],
        "scores": [[(name, column[i]) for name, column in scores.items()] for i in range(len(table))],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    return store.write_table(folder / f"{name}.parquet", pa.Table.from_arrays(arrays, schema=SCHEMA))


def read(path: Path, table: TurnTable) -> Credit:
    """The credit that :func:`write` stored of ``table``'s turns, without diagnostics and state.

    Raises UserError, with the path, for a file that is missing, damaged, or of other turns.
    """
    found = _load(path, table)
    shares = [dict(row) for row in found["parts"].to_pylist()]
    parts = {label: np.array([row[label] for row in shares]) for label in shares[0]} if shares else {}
    reward, penalty, outcome = (found[name].to_numpy() for name in ("reward", "penalty", "outcome"))
    table = replace(_scored(found, table), reward=reward, penalty=penalty, outcome=outcome[table.start])
    return Credit(table, found["advantage"].to_numpy(), parts, {}, {}, _flat(found["token_advantages"]))


def trained(path: Path, groups: Sequence[Group], anchor: Anchor = "state_key") -> TurnTable:
    """The turns that were trained on, with what scorers gave them; groups that a filter dropped are ``excluded``.

    Raises UserError as :func:`read` does.
    """
    known = set(store.read_table(path)["trajectory"].to_pylist())
    used = [group for group in groups if any(t.id in known for t in group)]
    left = {t.id: "dropped" if t.trusted else t.stop.value for group in groups if group not in used for t in group}
    table = TurnTable.from_groups(used, anchor)
    table = replace(table, excluded={**table.excluded, **left})
    return _scored(_load(path, table), table)


def _load(path: Path, table: TurnTable) -> Any:
    found = store.read_table(path)
    if not found.schema.equals(SCHEMA):
        raise UserError(f"{path} holds no credit, or that of another version of agentrl")
    owners = found["trajectory"].to_pylist()
    if owners != [table.ids[k] for k in table.trajectory] or found["turn"].to_pylist() != table.turn.tolist():
        raise UserError(f"{path} does not belong to the trajectories beside it: it names other turns")
    return found


def _scored(found: Any, table: TurnTable) -> TurnTable:
    columns: dict[str, Any] = {name: found[name].to_numpy() for name in _OF_TURNS}
    for name in PER_TOKEN:
        column = _flat(found[name])
        columns[name] = np.zeros(0) if column is None else column
    rows = [dict(row) for row in found["scores"].to_pylist()]
    return replace(
        table,
        **columns,
        last_value=found["last_value"].to_numpy()[table.start],
        scores={name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())},
    )


def _by_turn(values: Floats | None, table: TurnTable) -> list[Any]:
    if values is None or not len(values):
        return [None] * len(table)
    return np.split(values, np.cumsum(table.tokens)[:-1])


def _flat(column: Any) -> Floats | None:
    return None if column.null_count else column.combine_chunks().values.to_numpy()
