"""A desktop's processes: one bubblewrap with a display, a bus, a home and the programs in it.

Nothing of it is shared with the host but ``/usr``, read-only: no network, no files, no processes. It ends with
whoever started it, by whatever that ends.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentrl.errors import UserError
from agentrl.tools.sandboxes.local import programs, spawner

_GUEST = str(Path(__file__).parent / "guest")
_USER = "1000"
_ROOM = 64 << 20  # bytes that each of its folders can hold
_CONFIGURATION = ("fonts", "xdg")  # of /etc
# What is run, and the Debian package that brings it.
PACKAGES = {
    "bwrap": "bubblewrap", "Xvfb": "xvfb", "openbox": "openbox", "dbus-daemon": "dbus-daemon",
    "mousepad": "mousepad", "galculator": "galculator", "thunar": "thunar",
}  # fmt: skip
_BINDINGS = {"gi": "python3-gi", "Xlib": "python3-xlib"}
_TREE = ("at-spi2-core", "gir1.2-atspi-2.0")


class Machine:
    """``Machine().call("begin", ...)``. Not safe for use by two threads at once."""

    def __init__(self, seconds: float) -> None:
        require()
        self.seconds = seconds
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 closed with the process
        self._process: subprocess.Popen[bytes] = spawner().submit(self._start).result()

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def call(self, do: str, **how: Any) -> Any:
        """What the guest's method gives. Raises RuntimeError where it fails or does not answer in time."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **how}).encode() + b"\n")
            answer = json.loads(self._line())
        except (BrokenPipeError, ValueError):
            raise RuntimeError(f"the desktop is gone: {self._complaint()}") from None
        if "error" in answer:
            raise RuntimeError(f"the desktop: {answer['error']}")
        return answer["is"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            _command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, bufsize=0, cwd="/"
        )

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        out, line, end = self._process.stdout.fileno(), b"", time.monotonic() + self.seconds
        while not line.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0 or not select.select([out], [], [], left)[0]:
                self._process.kill()
                raise RuntimeError(f"the desktop did not answer in {self.seconds:g} s and was ended")
            part = os.read(out, 1 << 20)
            if not part:
                raise BrokenPipeError
            line += part
        return line

    def _complaint(self) -> str:
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - 500))
        return " ".join(self._stderr.read().decode(errors="replace").split())


@functools.cache
def require() -> None:
    """Raises UserError, with what to install, where something is missing."""
    if not sys.platform.startswith("linux"):
        raise UserError("a desktop needs Linux")
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    missing += [
        package for name, package in _BINDINGS.items() if not Path("/usr/lib/python3/dist-packages", name).is_dir()
    ]
    if not list(Path("/usr/lib").glob("*/girepository-1.0/Atspi-2.0.typelib")):
        missing += _TREE
    if missing or not Path("/usr/bin/python3").exists():
        raise UserError(f"a desktop needs packages of Debian: apt-get install {' '.join(missing or ['python3'])}")


def _command() -> Sequence[str]:
    options = ["bwrap", "--die-with-parent", "--new-session", "--unshare-all", "--cap-drop", "ALL"]
    options += ["--uid", _USER, "--gid", _USER, "--hostname", "desktop", "--clearenv"]
    options += [*programs(), "--proc", "/proc", "--dev", "/dev"]
    # The home is a mount of its own, so that nobody inside can rename it.
    for folder, mode in (("/tmp", "1777"), ("/dev/shm", "1777"), ("/etc", "0755"), ("/home/user", "0755")):
        options += ["--perms", mode, "--size", str(_ROOM), "--tmpfs", folder]
    for name in _CONFIGURATION:
        options += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    options += ["--ro-bind", _GUEST, "/opt/guest", "--remount-ro", "/", "--chdir", "/home/user"]
    return [*options, "/usr/bin/python3", "-s", "-u", "/opt/guest/main.py"]
