"""One group, turn by turn, as plain data: what was seen, sampled, done and credited, and the graph of its states."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agentrl import store
from agentrl.errors import UserError
from agentrl.store.frames import Trajectories
from agentrl.trainers import passes
from agentrl.trainers.credit.batches import recipe_of
from agentrl.trainers.credit.columns import action_of
from agentrl.trainers.credit.table import TurnTable
from agentrl.types import Group, Trajectory, Turn
from agentrl.viewer.tokens import Pieces

_ByTurn = Mapping[tuple[str, int], Any]
_LABEL = 90  # characters of an observation that name a state


def group(run: Path, name: str, pieces: Pieces | None = None) -> dict[str, Any]:
    """Raises UserError for a group that is not stored."""
    found = Trajectories(run).group(name)
    pieces = pieces or Pieces.of(run)
    given, passed = _stored(run, found)
    anchor = str(recipe_of(run).get("anchor", "state_key"))
    if anchor not in ("observation", "privileged"):  # a function of the user's is not run to look at a page
        anchor = "state_key"
    table = TurnTable.from_groups([found], anchor)
    rows = {id: table.rows(id) for id in table.ids}
    return {
        "id": found.id,
        "task": found.task.key,
        "arguments": {key: repr(value) for key, value in found.task.kwargs},
        "trajectories": [_trajectory(t, table, rows.get(t.id), given, passed, pieces) for t in found],
        "states": _states(table),
        "credited": bool(given),
    }


def _trajectory(
    t: Trajectory, table: TurnTable, rows: slice | None, given: _ByTurn, passed: _ByTurn, pieces: Pieces
) -> dict[str, Any]:
    turns = []
    for number, turn in enumerate(t.turns):
        row = None if rows is None else rows.start + number
        state = (-1, -1) if row is None else (int(table.anchor[row]), int(table.next_anchor[row]))
        at = t.id, number
        turns.append(_turn(turn, *state, given.get(at), passed.get(at), pieces))
    return {
        "id": t.id,
        "seed": t.seed,
        "success": t.success,
        "reward": t.reward,
        "stop": t.stop.value,
        "trusted": t.trusted,
        "error": t.error,
        "parent": t.parent,
        "branch_turn": t.branch_turn or 0,
        "branch_token": t.branch_token,
        "turns": turns,
    }


def _turn(
    turn: Turn, state: int, after: int, credit: Mapping[str, Any] | None, passed: Sequence[float] | None, pieces: Pieces
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "saw": [turn.observation] if isinstance(turn.observation, str) else _messages(turn.observation),
        "text": turn.text,
        "did": action_of(turn),
        "valid": turn.valid,
        "reward": turn.reward,
        "state": state,
        "next": after,
        "seconds": {name: round(value, 5) for name, value in turn.seconds.items()},
    }
    optional: dict[str, Any] = {
        "error": turn.error,
        "rewards": dict(turn.rewards) if len(turn.rewards) > 1 else None,
        "trainable": None if turn.trainable else False,
        "version": turn.versions[-1][1] if turn.versions else None,
        "prompt_tokens": len(turn.prompt_ids) or None,
        "tools": [_call(call) for call in turn.tool_calls],
        "tokens": pieces(turn.completion_ids),
        "logprobs": _round(turn.logprobs),
        "entropies": _round(turn.entropies),
        "moved": _round(np.subtract(passed, turn.logprobs)) if passed is not None else None,
    }
    if credit is not None:
        optional |= {
            "advantage": _number(credit["advantage"]),
            "parts": {name: _number(value) for name, value in credit["parts"]},
            "advantages": _round(credit["token_advantages"] or ()),
            "value": _number(credit["values"]),
            "mc_value": _number(credit["mc_values"]),
        }
    return found | {name: value for name, value in optional.items() if value not in (None, [], {})}


def _messages(messages: Sequence[Any]) -> list[Any]:
    """Texts, and images as data URLs, in order."""
    found: list[Any] = []
    for message in messages:
        content = message.get("content", "")
        for part in [content] if isinstance(content, str) else content:
            found.append(
                part if isinstance(part, str) else {"image": part["image"]} if "image" in part else part["text"]
            )
    return found


def _call(call: Any) -> dict[str, Any]:
    return {
        "name": call.name,
        "arguments": json.dumps(call.arguments, default=repr, ensure_ascii=False),
        "chars": call.result_chars,
        "seconds": round(call.seconds, 5),
        "cost": call.cost,
        "error": call.error,
    }


def _stored(run: Path, found: Group) -> tuple[_ByTurn, _ByTurn]:
    """What training gave each turn of the group, and what its last pass said of each token, where a run stored it."""
    ids = {t.id for t in found}
    for file in sorted((run / "credit").glob("*.parquet")):
        if (run / "trajectories" / file.name).exists() and ids & _names(file):
            rows = store.read_table(file).to_pylist()
            given = {(row["trajectory"], row["turn"]): row for row in rows if row["trajectory"] in ids}
            return given, passes.read(run / "passes" / file.name, ids)
    return {}, {}


def _names(file: Path) -> set[str]:
    import pyarrow.parquet as pq

    return set(pq.ParquetFile(file).read(["trajectory"])["trajectory"].unique().to_pylist())


def _states(table: TurnTable) -> dict[str, str]:
    """A label for every state: what was seen when it was first visited, and how it ended."""
    labels: dict[str, str] = {}
    for row in range(len(table)):
        if table.anchor[row] >= 0:
            labels.setdefault(str(table.anchor[row]), _cut(table.texts[table.observation[row]]))
    for k, start in enumerate(table.start):
        last = int(table.next_anchor[start + table.length[k] - 1])
        if last >= 0:
            labels.setdefault(str(last), "success" if table.success[k] else "the end")
    return labels


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LABEL else line[: _LABEL - 1] + "…"


def _round(values: Any) -> list[float | None]:
    array = np.asarray(values, np.float64)
    rounded = np.round(array, 4).tolist()
    return rounded if np.isfinite(array).all() else [x if math.isfinite(x) else None for x in rounded]


def _number(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return float(np.format_float_scientific(value, precision=3)) if value else 0.0


def index(run: Path) -> list[str]:
    """The ids of all groups, in order. Raises UserError where nothing is stored."""
    names: list[str] = list(dict.fromkeys(Trajectories(run).table(["group"])["group"].to_pylist()))
    if not names:
        raise UserError(f"{run} holds no trajectories")
    return names
