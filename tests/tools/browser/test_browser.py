"""The browser against a site of awkward pages, in real Chromium."""

import asyncio
import base64
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from agentrl.tools import ToolError

pytestmark = [pytest.mark.web, pytest.mark.timeout(120)]
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))


@pytest.fixture(scope="module")
def site(chromium):
    from pages import Site

    with Site() as site:
        yield site


class Visit:
    """A browser driven by the names of things."""

    def __init__(self, site, **how):
        from agentrl.tools.browser import Browser

        self.site, self.browser = site, Browser(**how)

    def open(self, path, *more):
        return self.run(self.browser.open(self.site.origin + path, [self.site.origin, *more]))

    def run(self, coroutine):
        return asyncio.run(coroutine)

    def find(self, name):
        return next(e.ref for e in self.browser.seen.elements if e.name == name)

    def click(self, name):
        return self.run(self.browser.click(self.find(name)))

    def __getattr__(self, tool):
        return lambda *a, **k: self.run(getattr(self.browser, tool)(*a, **k))


@pytest.fixture
def visit(site):
    made = Visit(site)
    yield made
    made.browser.close()


def test_a_page_reads_as_text_with_numbered_elements(visit):
    text = visit.open("/")
    assert text.splitlines()[1:] == [
        "# Welcome", "Some bold words.", '[1] link "Next page"', "- one", "- two", "name | age", "Ann | 7"
    ]  # fmt: skip
    assert text.startswith(f"Start - {visit.site.origin}/")
    assert "secret" not in text


def test_links_and_back(visit):
    visit.open("/")
    assert "Here you are." in visit.click("Next page")
    assert "Welcome" in visit.back()
    with pytest.raises(ToolError, match="no page before"):
        visit.back()
    assert "Here you are." in visit.goto("/next")


def test_there_is_no_way_back_into_the_episode_before(visit):
    visit.open("/form")
    visit.goto("/next")
    visit.open("/")
    with pytest.raises(ToolError, match="no page before"):
        visit.back()


def test_a_form(visit):
    text = visit.open("/form")
    assert '[1] textbox "Your name" = "old"' in text
    assert '[3] combobox "Size" = "small" of small, large' in text
    assert '"No" (disabled)' in text
    assert 'textbox "Your name" = "Ann B" (focused)' in visit.type(visit.find("Your name"), "Ann B")
    assert str(visit.browser.seen).endswith("\nA n n B")  # the page heard the keys, and no others
    assert "(checked" in visit.click("agree")
    assert '= "large"' in visit.select(visit.find("Size"), "large")
    visit.select(visit.find("Many"), "a")
    visit.select(visit.find("Many"), "b")
    visit.select(visit.find("Many"), "c")
    assert 'listbox "Many" = "b, c"' in visit.select(visit.find("Many"), "a")
    assert '= "2031-05-04"' in visit.type(visit.find("Day"), "2031-05-04")
    with pytest.raises(ToolError, match="no such option; it has small, large"):
        visit.select(visit.find("Size"), "huge")
    with pytest.raises(ToolError, match="no list"):
        visit.select(visit.find("Send"), "x")
    with pytest.raises(ToolError, match="disabled"):
        visit.click("No")
    assert "n=Ann+B&c=on&s=large" in visit.click("Send")


def test_enter_sends_a_form(visit):
    visit.open("/form")
    assert "n=Zoe" in visit.type(visit.find("Your name"), "Zoe", submit=True)


def test_numbers_last_as_long_as_their_elements(visit):
    visit.open("/covered")
    number = visit.find("Under")
    visit.click("Accept")
    assert visit.find("Under") == number


def test_a_covered_element_is_not_clicked(visit):
    visit.open("/covered")
    with pytest.raises(ToolError, match=r'covered by dialog "Cookies"'):
        visit.click("Under")
    assert visit.browser.seen.title == "Covered"
    visit.click("Accept")
    assert visit.click("Under").startswith("clicked")


def test_an_element_that_is_partly_covered_is_clicked_where_it_is_free(visit):
    visit.open("/halfcovered")
    assert visit.click("Wide").startswith("clicked")


@pytest.mark.parametrize(
    ("button", "note", "title"),
    [
        ("Alert", "accepted: 'Hello'", "Dialogs"),
        ("Confirm", "accepted: 'Sure?'", "true"),
        ("Prompt", "dismissed: 'Who?'", "got null"),
    ],
)
def test_dialogs_are_answered_and_told(visit, button, note, title):
    visit.open("/dialogs")
    text = visit.click(button)
    assert note in text
    assert visit.browser.seen.title == title


def test_pop_ups_are_tabs(visit):
    visit.open("/popup")
    assert "(tab 2 was opened)" in visit.click("Open")
    assert "Here you are." in visit.tab(2)
    assert "Opener" in visit.tab(1)
    assert "tab 1 of 2" not in visit.tab(2, close=True)
    with pytest.raises(ToolError, match="the last tab stays open"):
        visit.tab(1, close=True)
    with pytest.raises(ToolError, match="no tab 7"):
        visit.tab(7)


def test_a_flood_of_pop_ups_is_cut(visit):
    visit.open("/many")
    visit.click("Open")
    assert "of 4)" in visit.tab(1)
    assert len(visit.browser._tabs) == 4


def test_a_page_that_hangs_is_replaced(visit):
    visit.open("/hang")
    visit.browser._tab.seconds = visit.browser.seconds = 2  # it hangs for good: no machine is too slow for this to hold
    assert "did not answer" in visit.click("Hang")
    visit.browser.seconds = 20
    assert "Here you are." in visit.goto(f"{visit.site.origin}/next")


def test_a_page_that_crashes_is_replaced(visit):
    visit.open("/")

    async def crash():
        session = await visit.browser._context.new_cdp_session(visit.browser._tab.page)
        asyncio.ensure_future(session.send("Page.crash")).add_done_callback(
            lambda sent: sent.cancelled() or sent.exception()
        )

    visit.run(visit.browser._chromium.run(crash()))
    assert re.search("crashed|gone", visit.look())
    assert "Here you are." in visit.goto(f"{visit.site.origin}/next")


def test_what_is_fetched_is_waited_for(visit):
    visit.open("/later")
    assert "arrived" in visit.click("Go")


def test_pages_that_never_rest_or_never_end_can_be_used(visit):
    assert "does not come to rest" in visit.open("/busy")
    assert 'button "B"' in visit.look()
    text = visit.goto(f"{visit.site.origin}/endless")
    assert "begun" in text
    assert "does not come to rest" in text


def test_scrolling(visit):
    assert "scrolled 0 of" in visit.open("/tall")
    assert "scrolled 0 of" not in visit.scroll("down")
    assert visit.click("Low").startswith("low")  # far below: it is brought into view
    visit.open("/box")
    before = visit.browser.seen.elements[0].box
    visit.scroll("down", visit.find("In"))
    assert visit.browser.seen.elements[0].box[1] < before[1]
    assert "as far as it goes" in visit.scroll("up") + visit.scroll("up")


def test_frames_and_shadow_roots(visit):
    assert "outer" in visit.open("/frame")
    assert visit.click("Inner").startswith("inner clicked")
    visit.open("/shadow")
    assert visit.click("Deep").startswith("shadow clicked")


def test_a_hostile_page_cannot_lie_to_the_one_who_looks(visit):
    text = visit.open("/hostile")
    assert text.startswith("Hostile")
    visit.click("Ok")


def test_hovering_shows_what_it_shows(visit):
    assert "Item" not in visit.open("/hover")
    assert 'link "Item"' in visit.run(visit.browser.hover(visit.find("Menu")))


def test_keys(visit):
    visit.open("/form")
    visit.click("Your name")
    assert '"Send"' in visit.press("Tab")
    with pytest.raises(ToolError, match="no key 'Blah'"):
        visit.press("Blah")


def test_editable_text(visit):
    visit.open("/edit")
    assert '= "new"' in visit.type(visit.find("Notes"), "new")


def test_downloads_are_refused(visit):
    visit.open("/save")
    assert "a download was refused: x.bin" in visit.click("Save")


def test_nothing_is_kept_between_episodes_or_shared_between_browsers(visit, site):
    assert "kept:" in visit.open("/store")
    assert "kept: localc=cookie" in visit.goto(f"{site.origin}/store")
    other = Visit(site)
    assert str(other.open("/store")).endswith("kept:")
    other.browser.close()
    assert str(visit.open("/store")).endswith("kept:")


def test_a_page_that_is_left_stores_nothing_more(visit):
    for _ in range(4):
        visit.open("/stubborn")
        assert str(visit.open("/store")).endswith("kept:")


def test_other_origins_cannot_be_reached(visit, site):
    from pages import Site

    with Site() as other:
        visit.open("/")
        for url in (
            other.origin,
            "http://example.com/",
            "file:///etc/passwd",
            "javascript:1",
            "chrome://version",
            "http://[x",
        ):
            with pytest.raises(ToolError, match="cannot be reached"):
                visit.goto(url)
        site.redirect = f"{other.origin}/next"
        with pytest.raises(ToolError, match="does not open: ERR_PROXY_CONNECTION_FAILED"):
            visit.goto(f"{site.origin}/away")  # neither by a redirect
        script = f"fetch('{other.origin}/stolen', {{mode: 'no-cors'}}).then(() => 'sent', () => 'refused')"
        visit.goto(f"{site.origin}/next")
        assert visit.run(visit.browser.evaluate(script)) == "refused"  # nor by a script
        address = other.origin.replace("http", "ws")
        socket = f"new Promise(r => {{ new WebSocket('{address}').onerror = () => r('refused') }})"
        assert visit.run(visit.browser.evaluate(socket)) == "refused"
        assert other.asked == []


def test_a_page_that_is_not_there(visit, site):
    from pages import Site

    with Site() as gone:
        origin = gone.origin
    visit.open("/", origin)
    with pytest.raises(ToolError, match="does not open: ERR_CONNECTION_REFUSED"):
        visit.goto(origin)
    assert "Here you are." in visit.goto(f"{site.origin}/next")


def test_leaves_are_numbered_where_asked_for(site):
    visit = Visit(site, leaves=True)
    text = visit.open("/plain")
    assert '[1] span "alpha" [2] span "beta" [3] circle rgb(255, 0, 0) 18x18' in text
    visit.browser.close()


def test_pictures_with_marks(site):
    visit = Visit(site, screenshot=True, width=400, height=300)
    text, picture = visit.open("/")
    assert text["text"].startswith("Start")
    png = base64.b64decode(picture["image"].partition(",")[2])
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20], "big") == 400
    plain = Visit(site, screenshot=True, marks=False, width=400, height=300)
    assert plain.open("/")[1]["image"] != picture["image"]
    assert "data:image" not in text["text"]
    for one in (visit, plain):
        one.browser.close()


def test_many_contexts_side_by_side(site):
    from agentrl.tools.browser import Browser

    async def one():
        browser = Browser()
        await browser.open(f"{site.origin}/form", [site.origin])
        field = browser.seen.elements[0].ref
        text = await browser.type(field, f"name {id(browser)}", submit=True)
        browser.close()
        return f"name+{id(browser)}" in text

    async def all_of_them():
        return await asyncio.gather(*(one() for _ in range(8)))

    assert all(asyncio.run(all_of_them()))


def test_gone_elements_and_hostile_arguments(visit):
    visit.open("/")
    with pytest.raises(ToolError, match="no element 999"):
        visit.run(visit.browser.click(999))
    visit.open("/form")
    field = visit.find("Your name")
    visit.type(field, "\ud800 \x00 日本 <script>alert(1)</script>")
    visit.type(field, "x" * 100_000)
    assert len(next(e.value for e in visit.browser.seen.elements if e.ref == field)) <= 2_000


def test_the_browser_is_started_anew_after_a_crash(visit, chromium):
    visit.open("/")
    visit.run(chromium.run(chromium._browser.close()))
    with pytest.raises(Exception, match="closed"):
        visit.look()
    assert "Welcome" in visit.open("/")


def test_it_goes_with_its_process(chromium, tmp_path):
    """kill -9 of the program leaves no browser behind."""
    code = """
        import asyncio, os, sys
        from agentrl.tools.browser.chromium import shared
        asyncio.run(shared().run(shared()._started()))
        print("started", flush=True)
        sys.stdin.read()
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path), "TMPDIR": str(tmp_path), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert child.stdout.readline() == "started\n"
    family = descendants(child.pid)
    assert any("chrom" in name for name in family.values())
    child.kill()
    child.wait()
    for _ in range(600):
        left = [pid for pid in family if alive(pid)]
        if not left:
            break
        time.sleep(0.1)
    assert left == []


def descendants(pid):
    found, todo = {}, [pid]
    while todo:
        parent = todo.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            for child in task.read_text().split():
                found[int(child)] = Path(f"/proc/{child}/comm").read_text().strip()
                todo.append(int(child))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
