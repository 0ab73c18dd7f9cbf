"""What runs on a desktop: its display, bus, window manager and programs; started, waited for, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

SIZE = 800, 600
HOME, TMP = Path("/home/user"), Path("/tmp")
QUIET = 0.1  # seconds without anything happening that count as rest
DELAYED = 0.3  # after keys: GTK shows for 250 ms that a button is pressed before it acts, and completes names late

_OPENBOX = """<openbox_config xmlns="http://openbox.org/3.4/rc">
<placement><policy>Smart</policy><center>yes</center></placement>
<theme><name>Clearlooks</name></theme>
<desktops><number>1</number><popupTime>0</popupTime></desktops>
<keyboard><keybind key="A-Tab"><action name="NextWindow"><dialog>none</dialog></action></keybind></keyboard>
<applications><application type="normal"><maximized>yes</maximized></application></applications>
</openbox_config>"""
_GTK = """[Settings]
gtk-enable-animations=0
gtk-cursor-blink=0
gtk-theme-name=Adwaita
gtk-primary-button-warps-slider=0
gtk-recent-files-enabled=0
"""


def environment() -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(HOME),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "DISPLAY": ":0",
        "DBUS_SESSION_BUS_ADDRESS": "unix:path=/tmp/bus",
        "XDG_RUNTIME_DIR": "/tmp/run",
        "XDG_CURRENT_DESKTOP": "X-Generic",
        "GSETTINGS_BACKEND": "memory",
        "GTK_OVERLAY_SCROLLING": "0",
        "GDK_CORE_DEVICE_EVENTS": "1",
        "GVFS_DISABLE_FUSE": "1",
        "GIO_USE_VFS": "local",
        "GIO_USE_VOLUME_MONITOR": "unix",
    }


class Programs:
    """The processes of this namespace; this one is their first."""

    def __init__(self) -> None:
        self._base: set[int] = set()
        for folder in ("/tmp/.X11-unix", "/tmp/run", "/etc"):
            os.makedirs(folder, exist_ok=True)
        Path("/etc/passwd").write_text(f"user:x:{os.getuid()}:{os.getgid()}:User:{HOME}:/bin/false\n")
        Path("/etc/machine-id").write_text("0" * 31 + "1\n")
        Path("/tmp/rc.xml").write_text(_OPENBOX)
        Path("/etc/gtk-3.0").mkdir()
        Path("/etc/gtk-3.0/settings.ini").write_text(_GTK)
        self._begin("Xvfb", ":0", "-screen", "0", "{}x{}x24".format(*SIZE), "-nolisten", "tcp", "-noreset")
        self._until(lambda: os.path.exists("/tmp/.X11-unix/X0"), "the display")
        self._begin("dbus-daemon", "--session", "--nofork", "--nopidfile", "--address=unix:path=/tmp/bus")
        self._until(lambda: os.path.exists("/tmp/bus"), "the bus")
        self._begin("openbox", "--sm-disable", "--config-file", "/tmp/rc.xml")

    def keep(self) -> None:
        """Whatever runs now stays until the end; what comes later, until the end of the episode."""
        self._base = set(_all())

    def start(self, command: list[str]) -> None:
        self._begin(*command)

    def end(self) -> None:
        """End all that is not kept."""
        while others := set(_all()) - self._base:
            for pid in others:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
            time.sleep(0.002)

    def reap(self) -> None:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass

    def rest(self, quiet: float = QUIET, seconds: float = 5.0) -> bool:
        """Wait until all processes have waited for ``quiet`` seconds; False where that takes longer than ``seconds``.

        Who waits and has not been woken since has done nothing, however busy the machine is.
        """
        now = time.monotonic()
        end, since, before = now + seconds, now, None
        while now < end:
            self.reap()
            states = {pid: _state(pid) for pid in _all()}
            now = time.monotonic()
            if states != before or any(state and state[0] != "S" for state in states.values()):
                before, since = states, now
            elif now - since >= quiet:
                return True
            time.sleep(0.01)
        return False

    def _begin(self, *command: str) -> None:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=2, stderr=2, env=environment(), cwd=HOME, start_new_session=True
        )

    def _until(self, ready: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + 60
        while not ready():
            if time.monotonic() > end:
                raise RuntimeError(f"{what} does not come up")
            time.sleep(0.005)


def _all() -> list[int]:
    """All processes of the namespace but this one and bubblewrap's."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]


def _state(pid: int) -> tuple[str, str] | None:
    """Whether its threads wait, and how often they have been woken."""
    states, woken = "", ""
    try:
        for thread in sorted(os.listdir(f"/proc/{pid}/task")):
            for line in Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines():
                if line.startswith("State:"):
                    states += line.split()[1]
                elif "ctxt_switches" in line:
                    woken += line.split()[1] + " "
    except (FileNotFoundError, ProcessLookupError):
        return None
    return ("S" if set(states) <= set("SZ") else "R"), woken
