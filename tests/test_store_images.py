"""Images beside trajectories: once each, exact, whole or absent; and tables from before there were any."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentrl import store
from agentrl.errors import UserError
from agentrl.store import migrate
from agentrl.store.images import FOLDER, Images
from agentrl.types import Group, Task, Trajectory, Turn

TASK = Task("Look-v0", 1)


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def shown(*urls: str, text: str = "colour?") -> Group:
    """A group of one episode that shows these, a turn each."""
    turns = []
    for i, image in enumerate(urls):
        saw = [{"role": "user", "content": [{"type": "text", "text": text}, {"type": "image", "image": image}]}]
        turns.append(
            Turn(saw, prompt_ids=np.arange(3), completion_ids=[1], logprobs=[0], entropies=[0], versions=[(0, 0)])
        )  # type: ignore
        turns[-1].images = tuple(urls[: i + 1])
        turns[-1].info = {"shown": saw}
    episode = Trajectory("g-0", TASK, 0, turns, group="g", info={"last_observation": turns[-1].observation})
    return Group(TASK, "g", [episode])


def test_an_image_is_one_file_however_often_it_is_shown(tmp_path: Path) -> None:
    a, b = url(b"a" * 4000), url(b"b" * 4000, "jpeg")
    group = shown(a, b, a, a)
    path = store.write(tmp_path, "0", [group])
    again = store.write(tmp_path, "1", [shown(b, a)])
    assert sorted(file.suffix for file in (tmp_path / FOLDER).iterdir()) == [".jpeg", ".png"]
    assert path.stat().st_size + again.stat().st_size < 60_000
    (found,) = store.read(path)
    for mine, theirs in zip(group.trajectories[0].turns, found.trajectories[0].turns, strict=True):
        assert (mine.observation, mine.images, mine.info) == (theirs.observation, theirs.images, theirs.info)
    assert found.trajectories[0].info == group.trajectories[0].info
    assert len(store.read(tmp_path)) == 2


@settings(deadline=None, max_examples=25)
@given(st.text(), st.binary(max_size=20))
def test_whatever_is_said_beside_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("s")
    texts = [text, url(data), f'"image": "{url(data)}"', f'{{"image": "{FOLDER}/{"0" * 64}.png"}}']
    for said in texts:
        try:
            said.encode()
        except UnicodeEncodeError:
            continue
        group = shown(url(data), "data:image/png;base64,AA=A", "data:image/svg+xml;base64,AAAA", text=said)
        (found,) = store.read(store.write(folder, "x", [group]))
        assert [t.observation for t in found.trajectories[0].turns] == [
            t.observation for t in group.trajectories[0].turns
        ]
        assert found.trajectories[0].turns[-1].images == group.trajectories[0].turns[-1].images


def test_a_lost_image_is_named_and_a_damaged_one_refused(tmp_path: Path) -> None:
    path = store.write(tmp_path, "0", [shown(url(b"one"))])
    (file,) = (tmp_path / FOLDER).iterdir()
    file.write_bytes(b"two")
    with pytest.raises(UserError, match=rf"{file.name} is damaged"):
        store.read(path)
    file.unlink()
    (found,) = store.read(path)
    assert found.trajectories[0].turns[0].images == (f"{FOLDER}/{file.name}",)


def test_names_in_a_table_reach_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    for name in ("../secret.png", "secret.png", f"{FOLDER}/../secret.png", "/etc/passwd"):
        assert Images(tmp_path).url(name) == name
        assert Images(tmp_path).urls_in(json.dumps({"image": name})) == json.dumps({"image": name})


def test_a_full_disk_leaves_no_table_that_names_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(data: bytes, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agentrl.store.images._put", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(tmp_path, "0", [shown(url(b"one"))])
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_tables_from_before_images_are_read(tmp_path: Path) -> None:
    group = shown(url(b"one"))
    group.trajectories[0].turns[0].images = ()
    path = store.write(tmp_path, "0", [group, Group(TASK, "empty")])
    table = pq.read_table(path)
    turns = table["turns"].combine_chunks()
    rows = turns.values
    kept = [field for field in rows.type if field.name != "images"]
    older = pa.ListArray.from_arrays(
        turns.offsets, pa.StructArray.from_arrays([rows.field(field.name) for field in kept], fields=kept)
    )
    old = table.set_column(table.column_names.index("turns"), "turns", older)
    pq.write_table(old.replace_schema_metadata({**table.schema.metadata, b"agentrl.format": b"2"}), path)
    found, empty = store.read(path)
    assert found.trajectories[0].turns[0].images == ()
    assert len(found.trajectories[0].turns[0].completion_ids) == 1
    assert len(empty) == 0
    assert migrate.migrated(table, b"0") is None
