"""Trajectories from JSON lines, one a line, checked key by key: what is wrong is named and never taken for zero.

    {"group": "g", "id": "a", "parent": null, "branch_turn": null, "outcome": 1.0, "steps": [
      {"state": "s0", "action": "go", "reward": 0.0, "tool_calls": 0, "valid": true, "tokens": 7, "entropies": [...]}
    ]}

Further keys of a line: ``task`` (else the group), ``ended`` (terminated | truncated | failed), ``branch_token``,
``rewards`` (name -> total), ``last_value`` (of the state after the last step, where the episode was truncated). Of a
step: ``next_state``, ``cost``, ``logprobs``, ``values`` (a critic's: a number for the state before the step, or one for
each token), ``token_rewards``, ``mc_value``, ``scores`` (name -> number), and, for methods of your own to come,
``tool``. ``parent`` and ``branch_turn`` may be left out, and ``entropies`` and the like where no method needs them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentrl.errors import UserError, unknown
from agentrl.trainers.credit.batches import Batch, placed
from agentrl.trainers.credit.columns import after_end, mean, same_text
from agentrl.trainers.credit.table import TurnTable

Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=0, le=10**12)]


class Step(BaseModel):
    """One turn."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    state: Name
    action: str | dict[str, Any] | list[Any] | None
    reward: float
    tool_calls: Count
    valid: bool
    tokens: Count
    entropies: list[Annotated[float, Field(ge=0)]] | None = None
    next_state: Name | None = None
    values: float | list[float] | None = None
    token_rewards: list[float] | None = None
    mc_value: float | None = None
    logprobs: list[float] | None = None
    cost: float | None = None
    scores: dict[str, float] | None = None
    tool: str | None = None

    @property
    def did(self) -> str | None:
        return None if self.action is None else same_text(self.action)


class Line(BaseModel):
    """One trajectory."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    group: Name
    id: Name
    parent: str | None = None
    branch_turn: Count | None = None
    branch_token: Count | None = None
    outcome: float
    steps: list[Step]
    task: Name | None = None
    ended: Literal["terminated", "truncated", "failed"] = "terminated"
    rewards: dict[str, float] | None = None
    last_value: float | None = None


def read_lines(path: str | Path) -> Batch:
    """Read and check a file. Raises UserError naming file, line, trajectory and turn."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no such file or folder: {path}")
    parts = path.read_bytes().split(b"\n")
    found: list[Line] = []
    numbers: dict[str, int] = {}
    for number, part in enumerate(parts, 1):
        if not part.strip():
            continue
        at = f"{path}, line {number}"
        line = _parse(part, at, cut=number == len(parts))
        if line.id in numbers:
            raise UserError(f"{at}: trajectory {line.id!r} is on line {numbers[line.id]} already")
        numbers[line.id] = number
        found.append(line)
    if not found:
        raise UserError(f"{path} holds no trajectories")
    _check_groups(found, numbers, path)
    try:
        table = _table(found)
    except UserError as error:
        raise UserError(placed(str(path), numbers, str(error))) from None
    members: dict[str, list[str]] = {}
    for line in found:
        members.setdefault(line.group, []).append(line.id)
    return Batch(
        str(path),
        table,
        members,
        {line.id: [(step.state, step.did or "") for step in line.steps] for line in found},
        numbers,
    )


def _parse(part: bytes, at: str, cut: bool) -> Line:
    try:
        raw = json.loads(part.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        why = "is cut off or no JSON" if cut else "is no JSON"
        raise UserError(f"{at} {why}: {error}") from None
    return _line(raw, at)


def _line(raw: Any, at: str) -> Line:
    if not isinstance(raw, dict):
        raise UserError(f"{at} is not an object: {_short(raw)}")
    try:
        line = Line.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{at}: {_explained(error, raw)}") from None
    if not line.steps and line.ended != "failed":
        raise UserError(f"{at}: trajectory {line.id!r} has no steps")
    if line.parent is not None and line.branch_turn is None:
        raise UserError(f"{at}: trajectory {line.id!r} has a parent and no branch_turn")
    for turn, step in enumerate(line.steps):
        for name in ("entropies", "logprobs", "values", "token_rewards"):
            values = getattr(step, name)
            if isinstance(values, list) and values and len(values) != step.tokens:
                raise UserError(
                    f"{at}: trajectory {line.id!r}, turn {turn}: {len(values)} {name} for {step.tokens} tokens"
                )
    return line


def _explained(error: ValidationError, raw: dict[str, Any]) -> str:
    first = error.errors()[0]
    loc = first["loc"]
    in_step = loc[0] == "steps" and len(loc) > 1
    name = loc[2] if in_step and len(loc) > 2 else loc[0]
    where = f"trajectory {raw.get('id', '(no id)')!r}" + (f", turn {loc[1]}" if in_step else "")
    if first["type"] == "missing":
        return f"{where}: the key {name!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', name, (Step if in_step else Line).model_fields)}"
    return f"{where}: {name} is {_short(first['input'])}: {first['msg']}"


def _check_groups(found: Sequence[Line], numbers: dict[str, int], path: Path) -> None:
    first: dict[str, Line] = {}
    named: Line | None = None
    for line in found:
        at = f"{path}, line {numbers[line.id]}: trajectory {line.id!r}"
        other = first.setdefault(line.group, line)
        if line.task != other.task:
            raise UserError(f"{at} has task {line.task!r}, but {other.id!r} of its group has {other.task!r}")
        if line.ended == "failed":
            continue
        named = named or line
        if set(line.rewards or {}) != set(named.rewards or {}):
            mine, theirs = sorted(line.rewards or {}), sorted(named.rewards or {})
            raise UserError(f"{at} has rewards {mine}, but {named.id!r} has {theirs}: every line needs the same names")


def table_of(lines: Sequence[dict[str, Any]]) -> TurnTable:
    """The table of lines that are parsed JSON already. Raises UserError as :func:`read_lines` does."""
    found = [_line(raw, f"line {number}") for number, raw in enumerate(lines, 1)]
    return _table(found)


def _table(found: Sequence[Line]) -> TurnTable:
    excluded = {line.id: "failed" for line in found if line.ended == "failed"}
    kept = [line for line in found if line.id not in excluded]
    if not kept:
        raise UserError("every trajectory failed")
    steps = [step for line in kept for step in line.steps]
    names = dict.fromkeys(name for step in steps for name in step.scores or ())
    ended = np.array([line.ended for line in kept])
    last = [
        known if line.last_value is None else line.last_value
        for line, known in zip(kept, after_end(ended), strict=True)
    ]
    return TurnTable.from_arrays(
        ids=[line.id for line in kept],
        group=[line.group for line in kept],
        task=[line.task or line.group for line in kept],
        length=[len(line.steps) for line in kept],
        outcome=[line.outcome for line in kept],
        ended=[line.ended for line in kept],
        parent=[None if line.parent in excluded else line.parent for line in kept],
        branch_turn=[line.branch_turn or 0 for line in kept],
        rewards={name: [(line.rewards or {})[name] for line in kept] for name in kept[0].rewards or {}},
        reward=[step.reward for step in steps],
        valid=[step.valid for step in steps],
        anchor=[step.state for step in steps],
        next_anchor=[step.next_state for step in steps],
        action=[step.did for step in steps],
        observation=[step.state for step in steps],
        tokens=[step.tokens for step in steps],
        entropy=[mean(step.entropies or ()) for step in steps],
        logprob=[mean(step.logprobs or ()) for step in steps],
        tool_calls=[step.tool_calls for step in steps],
        cost=[np.nan if step.cost is None else step.cost for step in steps],
        scores={name: [(step.scores or {}).get(name, np.nan) for step in steps] for name in names},
        values=[_first(step.values) for step in steps],
        token_values=[step.values if isinstance(step.values, list) else [np.nan] * step.tokens for step in steps],
        token_rewards=[step.token_rewards or [np.nan] * step.tokens for step in steps],
        mc_values=[np.nan if step.mc_value is None else step.mc_value for step in steps],
        last_value=last,
        excluded=excluded,
    )


def _first(values: float | list[float] | None) -> float:
    if isinstance(values, list):
        return values[0] if values else np.nan
    return np.nan if values is None else values


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
