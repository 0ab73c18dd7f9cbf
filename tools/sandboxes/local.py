"""The ``local`` sandbox: bubblewrap, resource limits and a seccomp filter; no daemon, no image.

Inside there is the system's ``/usr`` and the Python that runs agentrl, both read-only and without site-packages, an
empty ``/tmp`` that the disk limit bounds, and no network. Works for root and for ordinary users (user namespaces).
Started by root, a session runs as a user id of its own: the kernel counts processes per user, and for root not at all.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from agentrl.errors import UserError
from agentrl.once import once_a_process
from agentrl.tools.sandboxes import seccomp
from agentrl.tools.sandboxes.base import Limits, SandboxError
from agentrl.tools.sandboxes.session import GuestSession

# Each can be left out by a test that shows what it is for.
LAYERS = frozenset({"files", "pids", "network", "ipc", "user", "seccomp", "environment"})
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "PYTHONHASHSEED": "0",  # the same code prints the same
    "MALLOC_ARENA_MAX": "1",  # an arena reserves 64 MB of the memory limit
    "OPENBLAS_NUM_THREADS": "1",
}
_HERE, _GUEST = str(Path(__file__).parent / "guest"), "/opt/guest"
_NOBODY = 65534
_OWN_USERS = 1 << 30  # above the ids that people and containers are given
_numbers = itertools.count()


class Local:
    """``Local().open(Limits())``. ``unconfined`` runs code as whoever runs agentrl, with their files and network."""

    _worked: ClassVar[bool] = False  # on this machine: what fails later is no matter of how it is set up

    def __init__(self, *, unconfined: bool = False, layers: Iterable[str] = LAYERS) -> None:
        self.unconfined = unconfined
        self.layers = frozenset(layers)

    def open(self, limits: Limits) -> GuestSession:
        if not self.unconfined:
            require()
        try:
            session = GuestSession(lambda: self._launch(limits), limits)
        except SandboxError as error:
            if Local._worked:
                raise
            raise UserError(f"the local sandbox cannot confine code on this machine: {error}") from None
        Local._worked = True
        return session

    def _launch(self, limits: Limits) -> _Process:
        return spawner().submit(self._spawn, limits).result()

    def _spawn(self, limits: Limits) -> _Process:
        own_user = os.geteuid() == 0 and not self.unconfined and "user" in self.layers
        uid = own_user_id() if own_user else None
        refused = seccomp.program() if not self.unconfined and "seccomp" in self.layers else b""
        config = {
            **asdict(limits),
            "uid": uid,
            "tied": not self.unconfined,
            "seccomp": base64.b64encode(refused).decode(),
        }
        python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
        command = [python, "-s", "-S", f"{_HERE if self.unconfined else _GUEST}/supervisor.py", json.dumps(config)]
        if self.unconfined:
            return _Process(command, ENVIRONMENT, folder=True)
        environment = ENVIRONMENT if "environment" in self.layers else {**os.environ, **ENVIRONMENT}
        return _Process([*self._bubblewrap(limits), *command], environment)

    def _bubblewrap(self, limits: Limits) -> list[str]:
        has = self.layers.__contains__
        options = ["bwrap", "--die-with-parent", "--new-session", "--unshare-uts", "--cap-drop", "ALL"]
        if os.geteuid() == 0:
            options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
        else:
            options += ["--unshare-user", "--disable-userns", "--uid", str(_NOBODY), "--gid", str(_NOBODY)]
        options += ["--unshare-pid", "--as-pid-1"] if has("pids") else []
        options += ["--unshare-net"] if has("network") else []
        options += ["--unshare-ipc"] if has("ipc") else []
        disk = str(limits.disk)
        return [
            *options,
            *(_system() if has("files") else ("--bind", "/", "/", *_python())),
            *("--perms", "0755", "--tmpfs", "/opt", "--ro-bind", _HERE, _GUEST),
            *("--proc", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--size", disk, "--tmpfs", "/dev/shm", "--remount-ro", "/dev"),
            *("--perms", "1777", "--size", disk, "--tmpfs", "/tmp", "--chdir", "/tmp"),
            *(("--remount-ro", "/opt", "--remount-ro", "/") if has("files") else ()),
        ]


def unconfined() -> Local:
    """The sandbox named so: for code that you trust, where nothing can confine it. Most limits hold, disk does not."""
    return Local(unconfined=True)


class _Process:
    """A started guest and the pipes to it."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: bool = False):
        self._folder = tempfile.mkdtemp(prefix="agentrl-") if folder else None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 closed with the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            env=environment,
            cwd=self._folder or "/",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin, self.stdout = self._process.stdin.fileno(), self._process.stdout.fileno()

    def kill(self) -> None:
        process = self._process
        for child in _children(process.pid) if process.poll() is None else ():
            with contextlib.suppress(OSError):  # first: bubblewrap, without rights, cannot end another user's process
                os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._stderr):
            if stream is not None:
                stream.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def complaint(self) -> str:
        """What the program said on stderr, shortly."""
        if self._stderr.closed:
            return ""
        self._stderr.seek(0)
        return " ".join(self._stderr.read(500).decode(errors="replace").split())


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended, or the kernel keeps no such file
        return []


def own_user_id() -> int:
    """A user id that no other living sandbox of this machine has: of this process and a running number."""
    return _OWN_USERS + (os.getpid() % 2**21 << 8) + next(_numbers) % 256


@once_a_process
def spawner() -> ThreadPoolExecutor:
    """One thread that starts all: the kernel takes the end of the starting thread for the end of the parent."""
    return ThreadPoolExecutor(1, "agentrl-sandbox")


@functools.cache
def require() -> None:
    """Raises UserError, with what to install, where something is missing."""
    if not sys.platform.startswith("linux"):
        raise UserError("the local sandbox needs Linux; use the docker or e2b sandbox here")
    if shutil.which("bwrap") is None:
        raise UserError("the local sandbox needs bubblewrap, which is not installed: apt-get install bubblewrap")


def programs() -> list[str]:
    """Bubblewrap's options for the system's programs, read-only: /usr, and what of the root leads into it."""
    options = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), f"/{name}"]
        elif path.is_dir():
            options += ["--ro-bind", f"/{name}", f"/{name}"]
    return options


@functools.cache
def _system() -> tuple[str, ...]:
    """Read-only system and Python, without site-packages: a package there might know the answers to the tasks."""
    options = [*programs(), *_python()]
    for folder in sorted({path for root in (Path("/usr"), _prefix()) for path in _site_packages(root)}):
        options += ["--tmpfs", folder, "--remount-ro", folder]
    return tuple(options)


def _prefix() -> Path:
    return Path(os.path.realpath(sys.base_prefix))


def _python() -> list[str]:
    """The interpreter's folder, under folders that are open: a home is closed to the session's user."""
    prefix = _prefix()
    if prefix.is_relative_to("/usr"):
        return []
    top, *folders = [*reversed(prefix.parents)][1:]
    options = ["--perms", "0755", "--tmpfs", str(top)]
    for folder in folders:
        options += ["--perms", "0755", "--dir", str(folder)]
    return [*options, "--ro-bind", str(prefix), str(prefix), "--remount-ro", str(top)]


def _site_packages(root: Path) -> list[str]:
    return [
        str(path)
        for pattern in ("lib/python*/*-packages", "local/lib/python*/*-packages")
        for path in root.glob(pattern)
        if path.is_dir() and not path.is_symlink()
    ]
