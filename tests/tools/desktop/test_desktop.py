"""Real programs on a display of their own."""

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentrl.envs.desktop import settings
from agentrl.errors import UserError
from agentrl.tools.desktop import Desktop, machine
from agentrl.tools.tool import ToolError

SETTINGS = settings.FILES
EDITOR = [["mousepad", "a.txt"]]


@pytest.fixture
def desktop(gui):
    made = Desktop()
    yield made
    made.close()


def named(desktop, name):
    return next(e for e in desktop.seen.elements if e.name == name)


def named_or_none(desktop, name):
    return next((e for e in desktop.seen.elements if e.name == name and e.role == "cell"), None)


def editor(desktop):
    return next(e for e in desktop.seen.elements if e.role == "textbox")


def inside(root):
    """All processes below one."""
    found, last = {root}, 0
    while len(found) > last:
        last = len(found)
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            found |= {int(folder.name)} if parent in found else set()
    return found


def gone(pids):
    end = time.monotonic() + 60
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, [
            Path(f"/proc/{p}/cmdline").read_text() for p in pids if os.path.exists(f"/proc/{p}")
        ]
        time.sleep(0.05)


@pytest.mark.gui
def test_elements_keep_their_numbers_and_what_is_typed_is_text(desktop):
    first = desktop.open({"a.txt": "hello\n"}, EDITOR)
    assert first.splitlines()[0] == "~/a.txt - Mousepad (active)"
    assert '[1] menu "File"' in first
    hostile = "Grüße ∑ $(touch /tmp/x) `id`; rm -rf ~ | \"'\\ 你好\n{}[]<>"
    ref = editor(desktop).ref
    desktop.type(hostile, ref)
    assert (editor(desktop).ref, editor(desktop).value) == (ref, hostile)
    assert desktop.files() == {"a.txt": "hello\n"}
    desktop.press("Control+s")
    assert desktop.files() == {"a.txt": hostile}
    desktop.type("")
    desktop.type("", ref)
    assert editor(desktop).value == ""


@pytest.mark.gui
def test_menus_open_and_dialogs_cover(desktop):
    desktop.open({}, [["mousepad"]])
    desktop.click(named(desktop, "File").ref)
    desktop.click(named(desktop, "Save As...").ref)
    assert desktop.seen.active == "Save As"
    with pytest.raises(ToolError, match="covered by the window 'Save As'"):
        desktop.click(named(desktop, "File").ref)
    assert "Modified" not in desktop.look()  # what tells the time is left out
    desktop.type("b.txt")
    desktop.press("Enter")
    assert desktop.files() == {"b.txt": ""}


@pytest.mark.gui
def test_what_cannot_be_done_is_told(desktop):
    desktop.open({"a.txt": ""}, EDITOR)
    with pytest.raises(ToolError, match="no element 99"):
        desktop.click(99)
    for key in ("Nope", "", "Control+Nope", "\0", "Control+", "Grüße"):
        with pytest.raises(ToolError, match="there is no key"):
            desktop.press(key)
    desktop.drag(1, 1, 799, 599)
    desktop.click_at(799, 599)
    desktop.scroll("down", editor(desktop).ref)
    desktop.double_click(editor(desktop).ref)
    desktop.press("Control+q")
    assert desktop.look() == ""  # no window is left
    assert desktop.open({"a.txt": "again"}, EDITOR)
    assert editor(desktop).value == "again"


@pytest.mark.gui
def test_nothing_stays_from_the_episode_before(desktop):
    first = desktop.open({"a.txt": "one", "sub/b.txt": "two"}, [["thunar", "/home/user"]])
    desktop.press("Control+a")
    desktop.press("Shift+Delete")
    desktop.press("Enter")
    assert desktop.files() == {}
    assert desktop.open({"a.txt": "one", "sub/b.txt": "two"}, [["thunar", "/home/user"]]) == first
    assert desktop.files() == {"a.txt": "one", "sub/": "", "sub/b.txt": "two"}


@pytest.mark.gui
def test_nothing_outside_the_home_can_be_spoilt(desktop):
    first = desktop.open({"a.txt": "one"}, [["thunar", "/home"]], SETTINGS)
    desktop.click(named(desktop, "user").ref)
    desktop.press("F2")
    desktop.type("gone")
    desktop.press("Enter")
    assert desktop.open({"a.txt": "one"}, [["thunar", "/home"]], SETTINGS) == first
    for folder in ("/usr", "/home", "/"):
        desktop.open({}, [["thunar", folder]], SETTINGS)
        before = desktop.look()
        desktop.press("Control+Shift+n")
        desktop.type("new")
        desktop.press("Enter")
        desktop.press("Escape")
        assert named_or_none(desktop, "new") is None, (folder, before)
    desktop.open({}, [["thunar", "/tmp"]], SETTINGS)
    desktop.press("Control+Shift+n")
    desktop.type("new")
    desktop.press("Enter")
    assert named_or_none(desktop, "new") is not None
    desktop.open({}, [["thunar", "/tmp"]], SETTINGS)
    assert named_or_none(desktop, "new") is None


@pytest.mark.gui
def test_a_screenshot_is_a_picture_of_the_screen(gui):
    desktop = Desktop(screenshot=True)
    try:
        _, image = desktop.open({}, [["galculator"]])
        png = base64.b64decode(image["image"].partition(",")[2])
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (800, 600)
        assert image["image"] != desktop.click(named(desktop, "7").ref)[1]["image"]
    finally:
        desktop.close()


@pytest.mark.gui
def test_desktops_stand_side_by_side_and_are_confined(gui):
    desktops = [Desktop() for _ in range(3)]
    try:
        for i, desktop in enumerate(desktops):
            desktop.open({"a.txt": str(i)}, EDITOR)
        for i, desktop in enumerate(desktops):
            desktop.type(f"{i}{i}", editor(desktop).ref)
            desktop.press("Control+s")
        assert [desktop.files() for desktop in desktops] == [{"a.txt": f"{i}{i}"} for i in range(3)]
        for space in ("net", "mnt", "pid", "ipc", "user"):
            own = {_namespace(_editor_of(desktop), space) for desktop in desktops}
            assert len(own | {os.readlink(f"/proc/self/ns/{space}")}) == 4, space
    finally:
        for desktop in desktops:
            desktop.close()


def _editor_of(desktop):
    pids = inside(desktop._machine._process.pid)
    return next(p for p in pids if Path(f"/proc/{p}/comm").read_text().strip() == "mousepad")


def _namespace(pid, space):
    return os.readlink(f"/proc/{pid}/ns/{space}")


@pytest.mark.gui
def test_a_desktop_that_dies_fails_the_call_and_the_next_episode_has_a_new_one(desktop):
    desktop.open({"a.txt": "x"}, EDITOR)
    pids = inside(desktop._machine._process.pid)
    desktop._machine._process.kill()
    with pytest.raises(RuntimeError, match="desktop"):
        desktop.press("Enter")
    gone(pids - {desktop._machine._process.pid})
    desktop.open({"a.txt": "y"}, EDITOR)
    assert editor(desktop).value == "y"


PROGRAM = """
import os, signal
from agentrl.tools.desktop import Desktop
desktops = [Desktop() for _ in range(2)]
for desktop in desktops:
    desktop.open({"a.txt": ""}, [["mousepad", "a.txt"], ["galculator"]])
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.gui
def test_no_process_stays_when_the_program_is_killed(gui):
    program = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert program.stdout.readline() == b"ready\n"
    pids = inside(program.pid)
    assert len(pids) > 12
    os.kill(program.pid, signal.SIGKILL)
    program.wait()
    program.stdout.close()
    gone(pids)


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(machine.shutil, "which", lambda program: None if program == "Xvfb" else f"/usr/bin/{program}")
    machine.require.cache_clear()
    with pytest.raises(UserError, match=r"apt-get install.* xvfb"):
        Desktop().open({}, EDITOR)
    machine.require.cache_clear()
