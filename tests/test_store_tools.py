"""What is done with stored trajectories: frames, conditions, rows for other tools, files of an earlier format."""

from __future__ import annotations

import json
from operator import eq, ge, gt, le, lt, ne
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl import store
from agentrl.cli.main import main
from agentrl.errors import UserError
from agentrl.store.frames import Trajectories, Turns
from agentrl.store.rows import chat, pairs, sft
from agentrl.store.select import matching, selected
from agentrl.types import Group, Task, ToolCall, ToolRecord, Trajectory, Turn


def turn(saw: str, did: Any, valid: bool = True) -> Turn:
    ids = np.arange(2)
    text = did if isinstance(did, str) else ""
    calls = [] if text else [ToolRecord("look", {})]
    return Turn(
        saw,
        prompt_ids=ids,
        completion_ids=ids,
        logprobs=-np.ones(2),
        entropies=np.ones(2),
        text=text,
        action=did if valid else None,
        valid=valid,
        tool_calls=calls,
        versions=[(0, 0)],
        rewards={"r": 0.5},
    )


GROUPS = [
    Group(
        Task("E-v0", g),
        f"g{g}",
        [
            Trajectory(
                f"g{g}-{i}",
                Task("E-v0", g),
                i,
                [turn("start", "go"), turn("hall", ToolCall("look", at=i)), turn("end", f"stop {i}", valid=i != 2)],
                success=i % 2 == 0,
                info={"task_type": f"kind{g}"},
            )
            for i in range(4)
        ],
    )
    for g in range(3)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for g, group in enumerate(GROUPS):
        store.write(tmp_path / "run" / "trajectories", f"{g:06d}", [group], iteration=g)
    return tmp_path / "run"


def test_frames(folder: Path) -> None:
    found = Trajectories(folder)
    frame = found.to_pandas()
    assert len(found) == len(frame) == 12
    assert frame["task_type"].tolist()[::4] == ["kind0", "kind1", "kind2"]
    assert found.group(2).id == found.group("g2").id == "g2"
    assert [g.id for g in found] == ["g0", "g1", "g2"]
    assert "12 trajectories in 3 groups, 36 turns, 50.0% successful" in repr(found)
    with pytest.raises(UserError, match="no group 3"):
        found.group(3)
    with pytest.raises(UserError, match="did you mean"):
        found.group("g4")
    turns = Turns(folder).to_pandas()
    assert len(turns) == len(Turns(folder)) == 36
    assert turns["turn"].tolist() == [0, 1, 2] * 12
    assert turns["trajectory"].tolist()[3:6] == ["g0-1"] * 3
    assert turns["tokens"].tolist() == [2] * 36
    assert turns["tool_calls"].tolist() == [0, 1, 0] * 12
    assert set(turns["reward"]) == {0.5}


@given(st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(-1, 5))
def test_conditions_mean_what_they_say(sign: str, value: int) -> None:
    compare = {"=": eq, "!=": ne, "<": lt, "<=": le, ">": gt, ">=": ge}
    table = pa.table({"n_turns": pa.array([0, 1, 2, 3, None, 4], pa.int64())})
    found = matching(table, [f"n_turns {sign} {value}"])["n_turns"].to_pylist()
    assert found == [n for n in (0, 1, 2, 3, 4) if compare[sign](n, value)]


def test_filtering_keeps_groups_and_token_records(folder: Path, tmp_path: Path) -> None:
    [(_, [group])] = selected(folder, ["success=true", "task_type~KIND1"])
    assert [t.id for t in group] == ["g1-0", "g1-2"]
    assert group.trajectories[0].turns[0].completion_ids.tolist() == [0, 1]
    for nonsense in ("success", "sucess=true", "success=maybe", "n_turns=many"):
        with pytest.raises(UserError):
            selected(folder, [nonsense])


def test_rows_for_other_tools() -> None:
    conversations = list(chat(GROUPS))
    assert len(conversations) == 12
    first = conversations[1]["messages"]
    assert [m["role"] for m in first] == ["user", "assistant"] * 3
    assert first[1]["content"] == "go"
    assert first[3]["tool_calls"][0]["function"] == {"name": "look", "arguments": {"at": 1}}
    rows = list(sft(GROUPS))
    assert len(rows) == 3 * (4 * 3 - 1)  # one turn of each group was no action
    assert rows[2]["prompt"][-1] == {"role": "user", "content": "end"}
    assert rows[2]["completion"] == [{"role": "assistant", "content": "stop 0"}]
    couples = list(pairs(GROUPS))
    assert len(couples) == 6
    for couple in couples:
        assert couple["prompt"] == first[:3]
        assert couple["chosen"][0] != couple["rejected"][0]
    json.dumps([conversations, rows, couples])


def test_the_command_line_writes_what_it_says(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*args: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["traj", *args])
        assert not ended.value.code
        return capsys.readouterr().out

    listed = [json.loads(line) for line in run("list", str(folder), "-w", "success=false", "--json").splitlines()]
    assert [row["id"] for row in listed] == [f"g{g}-{i}" for g in range(3) for i in (1, 3)]
    run("filter", str(folder), "-w", "success=false", "-o", str(tmp_path / "bad"))
    assert [t.id for g in store.read(tmp_path / "bad") for t in g] == [row["id"] for row in listed]
    assert "> stop 1" in run("show", str(folder), "g2-1")
    run("export", str(folder), "--as", "chat", "-o", str(tmp_path / "set"))
    lines = (tmp_path / "set" / "train.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(chat(GROUPS))
    assert "data_files: train.jsonl" in (tmp_path / "set" / "README.md").read_text()
    assert run("export", str(folder), "--as", "sft").splitlines() == [json.dumps(row) for row in sft(GROUPS)]


def test_files_of_the_first_format_are_read(folder: Path) -> None:
    present = store.read(folder / "trajectories")
    for file in (folder / "trajectories").glob("*.parquet"):
        table = pq.read_table(file)
        metadata = {**table.schema.metadata, b"agentrl.format": b"1"}
        pq.write_table(table.drop_columns(["task_type"]).replace_schema_metadata(metadata), file)
    earlier = store.read(folder / "trajectories")
    assert [t.info for g in earlier for t in g] == [t.info for g in present for t in g]
    assert Trajectories(folder).to_pandas()["task_type"].tolist()[::4] == ["kind0", "kind1", "kind2"]
    [(_, [group])] = selected(folder, ["task_type=kind1"])
    assert [t.id for t in group] == [f"g1-{i}" for i in range(4)]
