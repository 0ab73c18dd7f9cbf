"""Groups to an Arrow table: each column flat over all turns, then cut into trajectories by offsets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agentrl.store.images import Images
from agentrl.store.migrate import kind_of
from agentrl.store.schema import ARRAYS, CALL, FORMAT, SCHEMA, TRAJECTORY, TURN
from agentrl.types import Action, Group, Task, ToolRecord, Trajectory, Turn


def encode(groups: Sequence[Group], iteration: int | None, images: Images) -> Any:
    """The ``pyarrow.Table`` of groups; group ids and tasks, empty groups too, are in its metadata.

    ``images`` takes what was shown, still to be written.
    """
    pairs = [(group, trajectory) for group in groups for trajectory in group]
    rows = [_row(group, trajectory, iteration, images) for group, trajectory in pairs]
    columns = [pa.array([row[key] for row in rows], kind) for key, kind in TRAJECTORY.items()]
    table = pa.Table.from_arrays([*columns, _turns([t for _, t in pairs], images)], schema=SCHEMA)
    tasks = [[group.id, *_task_columns(group.task)] for group in groups]
    return table.replace_schema_metadata({"agentrl.format": FORMAT, "agentrl.groups": json.dumps(tasks)})


def _row(group: Group, trajectory: Trajectory, iteration: int | None, images: Images) -> dict[str, Any]:
    env, task_id, kwargs = _task_columns(trajectory.task)
    return {
        "id": trajectory.id,
        "group": group.id,
        "iteration": iteration,
        "env": env,
        "task": _utf8(trajectory.task.key),
        "task_id": task_id,
        "task_type": _utf8(kind_of(trajectory.info)),
        "kwargs": kwargs,
        "seed": trajectory.seed,
        "success": trajectory.success,
        "reward": trajectory.reward,
        "n_turns": len(trajectory.turns),
        "sampled_tokens": trajectory.sampled_tokens,
        "stop_reason": trajectory.stop.value,
        "trusted": trajectory.trusted,
        "error": _utf8(trajectory.error),
        "parent": trajectory.parent,
        "branch_turn": trajectory.branch_turn,
        "branch_token": trajectory.branch_token,
        "info": images.names_in(_json(trajectory.info)),
    }


def _turns(trajectories: Sequence[Trajectory], images: Images) -> Any:
    turns = [turn for trajectory in trajectories for turn in trajectory.turns]
    shared = [k for trajectory in trajectories for k in _shared(trajectory.turns)]
    plain = {
        "observation": [images.names_in(_json(turn.observation)) for turn in turns],
        "prompt_shared": shared,
        "text": [_utf8(turn.text) for turn in turns],
        "action": [_action_json(turn.action) for turn in turns],
        "error": [_utf8(turn.error) for turn in turns],
        "rewards": [list(turn.rewards.items()) for turn in turns],
        "tool_calls": [[_call(record) for record in turn.tool_calls] for turn in turns],
        "versions": [[{"token": first, "version": v} for first, v in turn.versions] for turn in turns],
        "seconds": [list(turn.seconds.items()) for turn in turns],
        "images": [[images.name(url) for url in turn.images] for turn in turns],
        "info": [images.names_in(_json(turn.info)) for turn in turns],
    }
    arrays = {name: [getattr(turn, name) for turn in turns] for name in ARRAYS if name != "prompt_new"}
    arrays["prompt_new"] = [turn.prompt_ids[k:] for turn, k in zip(turns, shared, strict=True)]
    columns = []
    for name, kind in TURN.items():
        if name in arrays:
            columns.append(_ragged(arrays[name], ARRAYS[name]))
        else:
            columns.append(pa.array(plain.get(name) or [getattr(turn, name) for turn in turns], kind))
    rows = pa.StructArray.from_arrays(columns, fields=[pa.field(k, v) for k, v in TURN.items()])
    return pa.ListArray.from_arrays(_offsets([len(t.turns) for t in trajectories]), rows)


def _shared(turns: Sequence[Turn]) -> Iterator[int]:
    """For each turn, how many leading prompt ids equal the ids of the last turn before it that has any."""
    before = np.zeros(0, np.int32)
    for turn in turns:
        n = min(len(before), len(turn.prompt_ids))
        differs = before[:n] != turn.prompt_ids[:n]
        yield int(differs.argmax()) if differs.any() else n
        if len(turn.prompt_ids):
            before = np.concatenate([turn.prompt_ids, turn.completion_ids])


def _task_columns(task: Task) -> tuple[str, str, str]:
    return task.env, json.dumps(task.id), _json(task.kwargs)


def _call(record: ToolRecord) -> dict[str, Any]:
    fields: dict[str, Any] = {name: getattr(record, name) for name in CALL.names}
    return fields | {"arguments": _json(record.arguments), "error": _utf8(record.error)}


def _action_json(action: Action | None) -> str | None:
    if action is None:
        return None
    if isinstance(action, list):
        return _json([{"tool": call.name, "arguments": call.arguments} for call in action])
    return _json(action if isinstance(action, str) else {"tool": action.name, "arguments": action.arguments})


def _json(value: Any) -> str:
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False)
        text.encode()
        return text
    except UnicodeEncodeError:  # half a surrogate pair: escaped
        return json.dumps(value, default=_plain)
    except (TypeError, ValueError):  # keys that are no text, or a circle
        return json.dumps({"repr": repr(value)})


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else repr(value)


def _utf8(text: str | None) -> str | None:
    return None if text is None else text.encode(errors="replace").decode()


def _ragged(arrays: Sequence[npt.NDArray[Any]], dtype: type) -> Any:
    values = np.concatenate([np.zeros(0, dtype), *arrays])
    return pa.ListArray.from_arrays(_offsets([len(a) for a in arrays]), pa.array(values))


def _offsets(lengths: Sequence[int]) -> Any:
    return pa.array(np.cumsum([0, *lengths]), pa.int32())
