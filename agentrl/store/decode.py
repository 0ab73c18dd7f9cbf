"""An Arrow table back to groups."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agentrl.store.images import Images
from agentrl.store.schema import ARRAYS
from agentrl.types import Action, Group, StopReason, Task, ToolCall, ToolRecord, Trajectory, Turn


def decode(table: Any, images: Images) -> list[Group]:
    """The groups of a ``pyarrow.Table`` that :func:`agentrl.store.encode.encode` made."""
    tasks = json.loads(table.schema.metadata[b"agentrl.groups"])
    groups = {id: Group(_task(*columns), id) for id, *columns in tasks}
    turns = pa.concat_arrays(table["turns"].chunks) if len(table) else None
    played = [] if turns is None else _turns(turns, images)
    for row, trajectory_turns in zip(table.drop_columns(["turns"]).to_pylist(), played, strict=True):
        groups[row["group"]].trajectories.append(_trajectory(row, trajectory_turns, images))
    for group in groups.values():
        _share(group.trajectories)
    return list(groups.values())


def _share(trajectories: Sequence[Trajectory]) -> None:
    """A branch holds its parent's turns, not copies of them."""
    known = {t.id: t for t in trajectories}
    for t in trajectories:
        if t.parent in known and t.branch_turn:
            t.turns[: t.branch_turn] = known[t.parent].turns[: t.branch_turn]


def _turns(column: Any, images: Images) -> list[list[Turn]]:
    """The turns of each trajectory, from a list-of-structs array."""
    fields = column.values
    arrays = {name: _parts(fields.field(name)) for name in ARRAYS}
    names = [field.name for field in fields.type if field.name not in ARRAYS]
    plain = pa.Table.from_arrays([fields.field(name) for name in names], names).to_pylist()
    return [
        _played(plain[a:b], [{name: part[i] for name, part in arrays.items()} for i in range(a, b)], images)
        for a, b in pairwise(column.offsets.to_pylist())
    ]


def _played(plain: list[dict[str, Any]], arrays: list[dict[str, Any]], images: Images) -> list[Turn]:
    turns: list[Turn] = []
    before = np.zeros(0, np.int32)
    for row, part in zip(plain, arrays, strict=True):
        new = part.pop("prompt_new")
        prompt = np.concatenate([before[: row.pop("prompt_shared")], new])
        row |= {
            "observation": json.loads(images.urls_in(row["observation"])),
            "action": _action(row["action"]),
            "rewards": dict(row["rewards"]),
            "seconds": dict(row["seconds"]),
            "versions": [(span["token"], span["version"]) for span in row["versions"]],
            "tool_calls": [
                ToolRecord(**{**call, "arguments": json.loads(call["arguments"])}) for call in row["tool_calls"]
            ],
            "images": tuple(images.url(name) for name in row["images"]),
            "info": json.loads(images.urls_in(row["info"])),
        }
        turns.append(Turn(prompt_ids=prompt, **part, **row))
        if len(prompt):
            before = np.concatenate([prompt, part["completion_ids"]])
    return turns


def _trajectory(row: dict[str, Any], turns: list[Turn], images: Images) -> Trajectory:
    return Trajectory(
        id=row["id"],
        task=_task(row["env"], row["task_id"], row["kwargs"]),
        seed=row["seed"],
        turns=turns,
        stop=StopReason(row["stop_reason"]),
        success=row["success"],
        error=row["error"],
        group=row["group"],
        parent=row["parent"],
        branch_turn=row["branch_turn"],
        branch_token=row["branch_token"],
        info=json.loads(images.urls_in(row["info"])),
    )


def _task(env: str, task_id: str, kwargs: str) -> Task:
    return Task(env, json.loads(task_id), _tuples(json.loads(kwargs)))


def _tuples(value: Any) -> Any:
    return tuple(_tuples(part) for part in value) if isinstance(value, list) else value


def _action(text: str | None) -> Action | None:
    value = None if text is None else json.loads(text)
    if isinstance(value, list):
        return [ToolCall(call["tool"], **call["arguments"]) for call in value]
    return ToolCall(value["tool"], **value["arguments"]) if isinstance(value, dict) else value


def _parts(column: Any) -> list[npt.NDArray[Any]]:
    """The arrays of a list column, as views of one."""
    values = column.values.to_numpy()
    return [values[a:b] for a, b in pairwise(column.offsets.to_numpy().tolist())]
