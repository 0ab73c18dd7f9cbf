"""The page in a real Chromium."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentrl.viewer.page import export
from agentrl.viewer.server import Viewer

pytestmark = pytest.mark.web
Make = Callable[..., Path]

HOSTILE = [
    "<script>window.pwned = 1</script>",
    "</script><script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned = 1'>",
    "<svg onload='window.pwned = 1'>",
    "<svg><script>window.pwned=1</script></svg>",
    "'\"><body onload=window.pwned=1>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'>",
    "<a href='javascript:window.pwned=1'>click</a>",
    "javascript:window.pwned=1",
    "<style>body { display: none }</style>",
    "<base href='https://evil.example/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.example/'>",
    "<form action='https://evil.example'><input autofocus onfocus=window.pwned=1></form>",
    "<details open ontoggle=window.pwned=1>",
    "<math><mtext><table><mglyph><style><!--</style><img src onerror=window.pwned=1>",
    "<!--<script>window.pwned = 1//-->",
    "${window.pwned = 1} {{constructor.constructor('window.pwned=1')()}}",
    "\u2028window.pwned = 1\u2029",
    "\\u003cscript\\u003ewindow.pwned=1\\u003c/script\\u003e",
    "%3Cscript%3Ewindow.pwned=1%3C/script%3E",
    "__proto__",
    "x" * 3000,
]


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.problems = []
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("dialog", lambda dialog: (page.problems.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda r: page.problems.append(r.url) if "evil" in r.url else None)
    yield page
    assert page.problems == []
    context.close()


def go(page: Any, base: str, *parts: str) -> None:
    page.goto("about:blank")
    there = "#/" + "/".join(page.evaluate("parts => parts.map(encodeURIComponent)", list(parts)))
    page.goto(base + there)
    page.wait_for_function("there => document.body.dataset.ready && location.hash.startsWith(there)", arg=there)


@pytest.fixture
def written(make_run: Make, tmp_path: Path) -> str:
    export([make_run()], tmp_path / "run.html")
    return f"file://{tmp_path / 'run.html'}"


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_what_a_model_wrote_stays_text(make_run: Make, tmp_path: Path, page: Any, text: str) -> None:
    export([make_run(1, text=text)], tmp_path / "run.html")
    name = f"{text}0"
    base = f"file://{tmp_path / 'run.html'}"
    for parts in ([], ["episodes", "0"], ["group", "0", name], ["episode", "0", name, f"{name}-1", "2"]):
        go(page, base, *(parts or [""]))
        assert page.evaluate("window.pwned") is None
        assert page.evaluate("document.scripts.length") == 2
        alien = "img, iframe, form, base, math, object, embed, details, body > style, main style, a[href^=javascript]"
        assert page.locator(alien).count() == 0
        assert page.locator("header").is_visible()
    said = page.locator(".saw").first.text_content()
    assert said.replace("\ufffd", "") == text.replace("\ufffd", "")
    go(page, base, "group", "0", name)
    page.get_by_role("button", name="states").click()
    page.locator("main svg path").first.hover(force=True)
    assert page.evaluate("window.pwned") is None


def test_every_page_opens_and_leads_on(written: str, page: Any) -> None:
    go(page, written, "")
    assert page.locator(".figure b").all_text_contents() == ["25.0%", "75.0%", "+50.0"]
    page.get_by_role("link", name="group 1").click()
    page.wait_for_selector(".lanes canvas")
    page.keyboard.press("n")
    page.wait_for_function("location.hash.endsWith('/2')")
    page.keyboard.press("e")
    page.wait_for_selector(".line .dot")
    page.locator("input[type=search]").fill("task-1")
    assert page.locator("a.line").count() == 5
    page.locator("a.line").first.click()
    page.wait_for_selector(".turn.on .reply")
    for _ in range(2):
        page.keyboard.press("j")
    assert page.locator(".turn.on").get_attribute("data-i") == "2"
    page.keyboard.press("k")
    assert page.locator("aside h2").text_content() == "Turn 1"
    assert page.locator("aside dt").all_text_contents()[:3] == ["grpo", "gigpo-step", "advantage"]
    page.keyboard.press("g")
    page.wait_for_selector(".lanes canvas")


def test_the_heat_map_says_what_was_stored(written: str, page: Any, tmp_path: Path) -> None:
    from agentrl.viewer.group import group

    found = group(tmp_path / "run", "0")["trajectories"][1]
    go(page, written, "episode", "0", "0", found["id"])
    chips = page.locator(".turn .chip.plus, .turn .chip.minus").filter(has_text="advantage").all_text_contents()
    assert chips == [f"advantage {turn['advantage']:+.3f}" for turn in found["turns"]]


def test_a_token_says_how_far_the_trainer_moved_it(make_run: Make, page: Any, tmp_path: Path) -> None:
    run = make_run()
    recipe = run / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "policy: {path: small}\n")  # whose tokenizer gives the ids a text
    export([run], tmp_path / "run.html")
    go(page, f"file://{tmp_path / 'run.html'}", "episode", "0", "0", "0-0")
    page.select_option("select[aria-label='heat map']", "logprob ratio")
    token = page.locator(".turn .reply span").first
    assert token.evaluate("node => node.style.background") not in ("", "transparent")
    token.hover()
    page.wait_for_selector("#tip.on")
    assert f"trainer / sampler {math.exp(0.5):.4g}" in page.locator("#tip").text_content()


def test_two_episodes_side_by_side_show_where_they_part(written: str, page: Any) -> None:
    go(page, written, "pair", "0", "0", "0-0", "0", "0", "0-b")
    page.wait_for_selector(".talk.pair .reply")
    assert page.locator(".talk.pair > div").count() == 2


def test_light_and_dark(written: str, page: Any) -> None:
    go(page, written, "")
    seen = set()
    for _ in range(2):
        page.keyboard.press("t")
        seen.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(seen) == 2


def test_of_a_long_episode_only_what_is_near_is_made(make_run: Make, tmp_path: Path, page: Any) -> None:
    export([make_run(1, turns=1000, members=2)], tmp_path / "run.html")
    go(page, f"file://{tmp_path / 'run.html'}", "episode", "0", "0", "0-1")
    page.wait_for_selector(".turn .reply")
    assert page.locator("section.turn").count() == 1000
    assert page.locator(".turn .reply").count() < 100
    go(page, f"file://{tmp_path / 'run.html'}", "episode", "0", "0", "0-1", "900")
    page.wait_for_function("document.querySelector('.turn.on .reply').getBoundingClientRect().top < innerHeight")
    assert page.locator(".turn .reply").count() < 200


def test_the_served_page_follows_a_run_that_trains(make_run: Make, page: Any) -> None:
    run = make_run(1)
    (run / "summary.json").unlink()
    viewer = Viewer([run])
    thread = threading.Thread(target=viewer.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        page.goto(viewer.url)
        page.wait_for_selector(".pill.live")
        assert page.get_by_text("5 episodes").count() == 1
        make_run(3)
        page.wait_for_selector("text=15 episodes")
        page.wait_for_selector(".pill.live", state="detached")  # the summary is written after the episodes
        page.locator("a[aria-label='group 2']").click()
        page.wait_for_selector(".lanes canvas")
    finally:
        page.goto("about:blank")
        viewer.shutdown()
        thread.join()
        viewer.server_close()


def test_what_the_file_does_not_hold_is_said(make_run: Make, tmp_path: Path, page: Any) -> None:
    export([make_run(4)], tmp_path / "run.html", groups=2)
    go(page, f"file://{tmp_path / 'run.html'}", "group", "0", "1")
    assert "does not hold the turns" in page.locator("main").text_content()
    assert json.loads(page.locator("#data").text_content())["runs"][0]["name"] == "run"
