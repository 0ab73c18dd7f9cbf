"""What the page is given, against what is stored; and who may ask for it."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentrl import store
from agentrl.errors import UserError
from agentrl.policies.load import BUNDLED
from agentrl.trainers.credit import TurnTable, ledger
from agentrl.viewer.group import group, index
from agentrl.viewer.overview import overview, version
from agentrl.viewer.page import export, page
from agentrl.viewer.server import Viewer
from agentrl.viewer.tokens import Pieces

Make = Callable[..., Path]


def test_the_overview_counts_what_is_stored(make_run: Make) -> None:
    run = make_run()
    found = overview(run)
    stored = [t for g in store.read(run / "trajectories") for t in g]
    assert found["episodes"]["id"] == [t.id for t in stored]
    assert found["episodes"]["type"] == ["fetch"] * 15
    assert [row["n"] for row in found["curve"]] == [4, 4, 4]  # a branch is no independent try
    assert all(row["low"] <= row["mean"] <= row["high"] for row in found["curve"])
    assert found["metrics"][2]["update/entropy"] == 0.2
    assert found["after"]["success"] == 0.75
    assert found["status"] == "done"


def test_a_group_shows_the_credit_that_training_stored(make_run: Make) -> None:
    run = make_run()
    found = group(run, "1")
    groups = store.read(run / "trajectories" / "000001.parquet")
    given = ledger.read(run / "credit" / "000001.parquet", TurnTable.from_groups(groups))
    for t in found["trajectories"]:
        shown = [turn["advantage"] for turn in t["turns"]]
        assert shown == pytest.approx(given.of(t["id"]).tolist(), rel=1e-3, abs=1e-9)
        assert {"grpo", "gigpo-step"} == set(t["turns"][0]["parts"])
        assert [turn["moved"] for turn in t["turns"]] == [[0.5] * 4] * 6
    (branch,) = [t for t in found["trajectories"] if t["parent"]]
    assert branch["branch_turn"] == 2
    assert found["trajectories"][0]["turns"][0]["tools"][0]["seconds"] == 0.25
    json.dumps(found, allow_nan=False)
    with pytest.raises(UserError, match="unknown group"):
        group(run, "nowhere")


def test_states_that_are_alike_have_the_same_number(make_run: Make) -> None:
    found = group(make_run(), "0")
    for t in found["trajectories"]:
        assert t["turns"][0]["state"] == t["turns"][5]["state"]  # room 0
        assert t["turns"][0]["next"] == t["turns"][1]["state"]


def test_pieces_join_to_the_text_that_was_sampled() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(BUNDLED["small"] / "tokenizer.json"))
    pieces = Pieces(lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False)))
    import numpy as np

    for text in ("<action>go to fridge 1</action>", "naïve café 日本語 ☃"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        found = pieces(np.array(ids))
        assert len(found) == len(ids)
        assert "".join(found) == tokenizer.decode(ids)
    assert Pieces(None)(np.array([1])) == []


def test_the_version_changes_with_an_iteration(make_run: Make) -> None:
    run = make_run(2)
    before = version(run)
    assert version(run) == before
    make_run(3)
    assert version(run) != before


def test_an_exported_page_is_whole_and_cannot_be_broken_out_of(make_run: Make, tmp_path: Path) -> None:
    run = make_run(5, text="</script><script>alert(1)</script>")
    held = export([run], tmp_path / "run.html", groups=3)
    text = (tmp_path / "run.html").read_text()
    assert held == 3
    assert text.count("<script") == 2  # data, and the page's own
    inside = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert inside
    data = json.loads(inside[1])
    names = index(run)
    assert list(data["groups"]["0"]) == [names[0], names[2], names[4]]
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in text


def test_the_page_runs_no_script_but_its_own() -> None:
    found = re.search(r'Content-Security-Policy" content="([^"]*)"', page())
    assert found
    assert "default-src 'none'" in found[1]
    assert "unsafe" not in found[1]


@pytest.fixture
def viewer(make_run: Make) -> Iterator[Viewer]:
    viewer = Viewer([make_run()])
    thread = threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield viewer
    viewer.shutdown()
    thread.join()
    viewer.server_close()


def ask(viewer: Viewer, path: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{viewer.server_port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_only_who_knows_the_token_is_answered(viewer: Viewer) -> None:
    assert viewer.server_address[0] == "127.0.0.1"
    assert ask(viewer, f"/?token={viewer.token}")[0] == 200
    assert ask(viewer, "/api/runs", **{"X-Token": viewer.token})[0] == 200
    for path, headers in (
        ("/", {}),
        ("/?token=guess", {}),
        ("/api/runs", {}),
        (f"/api/runs?token={viewer.token}", {}),  # an address alone, which another page could name, is not enough
        ("/api/runs", {"X-Token": viewer.token, "Host": "evil.example"}),
        ("/api/runs", {"X-Token": viewer.token + "x"}),
    ):
        status, text = ask(viewer, path, **headers)
        assert status == 403
        assert "E-v0" not in text


def test_what_is_not_there_is_said(viewer: Viewer) -> None:
    token = {"X-Token": viewer.token}
    assert "unknown group" in ask(viewer, "/api/group?run=0&id=none", **token)[1]
    for path in (
        "/api/group?run=7&id=0",
        "/api/group?run=x&id=0",
        "/api/group",
        "/api/../../etc/passwd",
        "/favicon.ico",
    ):
        assert ask(viewer, path, **token)[0] == 404
    data = json.loads(ask(viewer, "/api/runs", **token)[1])
    have = data["runs"][0]["version"]
    assert json.loads(ask(viewer, f"/api/runs?have={have}", **token)[1]) == {"runs": None}


def test_images_are_shown_and_nothing_else_is(make_run: Make, tmp_path: Path) -> None:
    run = make_run(iterations=1)
    url, bad = "data:image/png;base64,iVBORw0KGgo=", "data:image/svg+xml;base64,PHN2Zy8+"
    (found,) = store.read(run / "trajectories")
    saw = [{"type": "text", "text": "<b>"}, {"type": "image", "image": url}, {"type": "image", "image": bad}]
    found.trajectories[0].turns[0].observation = [{"role": "user", "content": saw}]  # type: ignore[typeddict-item]
    store.write(run / "trajectories", "000000", [found], iteration=0)
    shown = group(run, found.id)
    (mine,) = [t for t in shown["trajectories"] if t["id"] == found.trajectories[0].id]
    assert mine["turns"][0]["saw"] == ["<b>", {"image": url}, {"image": bad}]
    assert not any("base64" in label for label in shown["states"])
    out = tmp_path / "run.html"
    export([run], out)
    html = out.read_text()
    assert url in html
    assert "img-src data:" in html
