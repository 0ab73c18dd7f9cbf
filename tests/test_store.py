from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentrl.errors import UserError
from agentrl.store import read, write
from agentrl.types import Group, StopReason, Task, ToolCall, ToolRecord, Trajectory, Turn

text = st.text(st.characters(), max_size=12)  # half surrogate pairs too
name = st.text("abcxyz_", min_size=1, max_size=6)
ids = st.integers(0, 2**31 - 1)
number = st.floats(allow_nan=False)
single = st.floats(-50, 0, width=32)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(name, plain, max_size=3)
call = st.builds(lambda n, a: ToolCall(n, **a), name, arguments)
message = st.builds(lambda role, content: {"role": role, "content": content}, name, text)
record = st.builds(ToolRecord, name, arguments, st.integers(0, 10**9), number, number, st.none() | st.text(max_size=5))
task = st.builds(
    Task,
    name,
    st.integers(0, 2**60) | text,
    st.lists(st.tuples(name, st.booleans() | st.integers(0, 9) | text | st.tuples(text)), max_size=2).map(tuple),
)


@st.composite
def turn(draw: st.DrawFn, before: list[int]) -> Turn:
    keep = draw(st.integers(0, len(before)))
    prompt = [*before[:keep], *draw(st.lists(ids, max_size=4))]
    c = draw(st.integers(0, 4)) if prompt else 0
    starts = sorted(draw(st.sets(st.integers(1, c - 1), max_size=2))) if c > 1 else []
    return Turn(
        observation=draw(text | st.lists(message, max_size=3)),
        state_key=draw(name),
        prompt_ids=prompt,
        completion_ids=draw(st.lists(ids, min_size=c, max_size=c)),
        logprobs=draw(st.lists(single, min_size=c, max_size=c)),
        entropies=draw(st.lists(single | st.just(float("nan")), min_size=c, max_size=c)),
        text=draw(st.text(max_size=8)),
        action=draw(st.none() | text | call | st.lists(call, max_size=3)),
        error=draw(st.none() | st.text(max_size=5)),
        valid=draw(st.booleans()),
        rewards=draw(st.dictionaries(name, number, max_size=3)),
        tool_calls=draw(st.lists(record, max_size=2)),
        versions=[(start, draw(st.integers(0, 10**12))) for start in [0, *starts]] if c else [],
        seconds=draw(st.dictionaries(name, number, max_size=3)),
        agent=draw(name),
        policy=draw(name),
        trainable=draw(st.booleans()),
        info=draw(st.dictionaries(text, plain, max_size=3)),
    )


@st.composite
def trajectory(draw: st.DrawFn, group: str, k: int) -> Trajectory:
    turns: list[Turn] = []
    before: list[int] = []
    for _ in range(draw(st.integers(0, 4))):
        turns.append(draw(turn(before)))
        before = [*turns[-1].prompt_ids.tolist(), *turns[-1].completion_ids.tolist()]
    maybe = st.none() | st.integers(0, 9)
    return Trajectory(
        id=f"{group}-{k}",
        task=draw(task),
        seed=draw(st.integers(0, 2**62 - 1)),
        turns=turns,
        stop=draw(st.sampled_from(StopReason)),
        success=draw(st.booleans()),
        error=draw(st.none() | st.text(max_size=5)),
        group=group,
        parent=draw(st.none() | name),
        branch_turn=draw(maybe),
        branch_token=draw(maybe),
        info=draw(st.dictionaries(text, plain, max_size=3)),
    )


@st.composite
def batch(draw: st.DrawFn) -> list[Group]:
    names = draw(st.lists(name, max_size=3, unique=True))
    return [Group(draw(task), id, [draw(trajectory(id, k)) for k in range(draw(st.integers(0, 3)))]) for id in names]


def comparable(value: Any) -> Any:
    """Plain data with the exact bits and types of arrays."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, ToolCall):
        return "call", value.name, value.arguments
    if dataclasses.is_dataclass(value):
        return {f.name: comparable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list):
        return [comparable(part) for part in value]
    return value


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(batch())
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, groups: list[Group]) -> None:
    folder = tmp_path_factory.mktemp("store")
    assert comparable(read(write(folder, "it-000001", groups, iteration=1))) == comparable(groups)
    assert [path.name for path in folder.iterdir()] == ["it-000001.parquet"]


def episode(turns: int, id: str = "g-0") -> Trajectory:
    played: list[Turn] = []
    before: list[int] = [1, 2, 3]
    for t in range(turns):
        prompt, said = [*before, *range(20)], list(range(100 + t, 110 + t))
        played.append(
            Turn(
                observation="here",
                prompt_ids=prompt,
                completion_ids=said,
                logprobs=np.full(10, -0.5),
                entropies=np.ones(10),
                versions=[(0, 0)],
                rewards={"env": 0.5},
            )
        )
        before = [*prompt, *said]
    return Trajectory(id, Task("Maze-v0", 3), 0, played, success=True, group="g")


def test_prompts_are_stored_once(tmp_path: Path) -> None:
    groups = [Group(Task("Maze-v0", 3), "g", [episode(100)])]
    rows = pq.read_table(write(tmp_path, "a", groups))["turns"].to_pylist()[0]
    assert sum(len(row["prompt_new"]) for row in rows) == 3 + 100 * 20
    assert [row["prompt_shared"] for row in rows[:3]] == [0, 33, 63]
    assert comparable(read(tmp_path)) == comparable(groups)


def test_flat_columns_are_for_people(tmp_path: Path) -> None:
    write(tmp_path, "a", [Group(Task("Maze-v0", 3), "g", [episode(2)])], iteration=7)
    write(tmp_path, "b", [Group(Task("Maze-v0", 3), "g", [episode(1)])], iteration=8)
    frame = pd.read_parquet(tmp_path)
    assert frame["task"].tolist() == ["Maze-v0#3"] * 2
    assert frame[["reward", "n_turns", "iteration"]].to_numpy().tolist() == [[1.0, 2, 7], [0.5, 1, 8]]
    assert frame["stop_reason"].tolist() == ["terminated"] * 2
    assert frame["trusted"].all()
    assert [len(turns) for turns in frame["turns"]] == [2, 1]


def test_files_of_a_folder_are_read_in_order_and_leftovers_ignored(tmp_path: Path) -> None:
    for k in (2, 1):
        write(tmp_path, f"it-{k}", [Group(Task("Maze-v0", k), f"g{k}", [episode(1)])])
    (tmp_path / ".it-3.parquet.99.partial").write_bytes(b"PAR1")
    assert [group.id for group in read(tmp_path)] == ["g1", "g2"]


def test_info_that_is_no_plain_data_is_kept_as_its_repr(tmp_path: Path) -> None:
    odd = episode(1)
    odd.info = {"path": Path("x"), "array": np.arange(2), "set": {1}}
    odd.turns[0].info = {(1, 2): 3}  # type: ignore[dict-item]
    [group] = read(write(tmp_path, "a", [Group(odd.task, "g", [odd])]))
    assert group.trajectories[0].info == {"path": repr(Path("x")), "array": [0, 1], "set": "{1}"}
    assert group.trajectories[0].turns[0].info == {"repr": "{(1, 2): 3}"}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = [Group(Task("Maze-v0", 3), "g", [episode(1)])]
    path = write(tmp_path, "a", old)

    def full(table: pa.Table, file: Any, **options: Any) -> None:
        file.write(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write(tmp_path, "a", [Group(Task("Maze-v0", 3), "g", [episode(5)])])
    assert caught.value.filename == str(path)
    assert comparable(read(path)) == comparable(old)
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = write(tmp_path, "a", [Group(Task("Maze-v0", 3), "g", [episode(2)])])
    whole = path.read_bytes()
    table = pq.read_table(path)

    def said(make: Any) -> str:
        make()
        with pytest.raises(UserError) as caught:
            read(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "damaged" in said(lambda: path.write_bytes(whole[: len(whole) // 2]))
    assert "damaged" in said(lambda: path.write_bytes(b""))
    assert "damaged" in said(lambda: path.write_bytes(whole[:8] + bytes(200) + whole[208:]))
    metadata = {**table.schema.metadata, b"agentrl.format": b"9"}
    assert "format 9" in said(lambda: pq.write_table(table.replace_schema_metadata(metadata), path))
    assert "no agentrl trajectories" in said(lambda: pq.write_table(pa.table({"x": [1]}), path))
    assert "has been changed" in said(lambda: pq.write_table(table.drop_columns(["seed"]), path))
    assert "no such file" in said(path.unlink)
    with pytest.raises(UserError, match="no trajectories"):
        read(tmp_path)


def test_two_groups_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="same id"):
        write(tmp_path, "a", [Group(Task("Maze-v0", 3), "g"), Group(Task("Maze-v0", 4), "g")])


def test_group_tasks_are_in_the_metadata(tmp_path: Path) -> None:
    path = write(tmp_path, "a", [Group(Task("Maze-v0", 3), "empty")])
    assert json.loads(pq.read_schema(path).metadata[b"agentrl.groups"]) == [["empty", "Maze-v0", "3", "[]"]]
    assert read(path) == [Group(Task("Maze-v0", 3), "empty")]


def test_a_task_id_with_half_a_surrogate_pair_comes_back(tmp_path):
    task = Task("T-v0", "\ud800")
    group = Group(task, "g", [Trajectory("g-0", task, seed=0, turns=[], stop=StopReason.TERMINATED)])
    (found,) = read(write(tmp_path, "it", [group]))
    assert found.task.id == "\ud800"
