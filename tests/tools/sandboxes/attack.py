"""One hostile program in a session beside a host that is watched; what went wrong, in sentences."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import programs

from agentrl.tools.sandboxes.base import Limits, SandboxError

LIMITS = Limits(wall=2, cpu=2, memory=256 << 20, processes=32, disk=16 << 20, output=16 << 10)
ROOM = replace(LIMITS, wall=8.0, cpu=8.0)  # for many at once
ALL = [(kind, name) for kind, group in programs.PROGRAMS.items() for name in group] + [
    ("file exchange", name) for name in programs.EXCHANGES
]
CLEAR = """
import os, shutil
for entry in os.scandir("."):
    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)
os._exit(0)
"""
_SLACK = 2.0  # seconds over the limit that an end may take: interrupting, killing, starting again


class Host:
    """What a program must not reach: a file, a folder, a port, a socket, a process, a segment, a variable."""

    def __enter__(self) -> Host:
        self.secret = secrets.token_hex(8)
        os.environ["BATTERY_SECRET"] = self.secret
        self.folder = Path(tempfile.mkdtemp(prefix="battery-", dir="/var/tmp"))
        self.folder.chmod(0o777)
        self.file = self.folder / "secret"
        self.file.write_text(self.secret)
        self.reached: list[Any] = []
        self.listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)]
        self.name = "battery-" + secrets.token_hex(4)
        self.listeners[1].bind("\0" + self.name)
        self.listeners[1].listen()
        self.port = self.listeners[0].getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        for listener in self.listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        self.process = subprocess.Popen(["sleep", "600"])
        self.segment = ctypes.CDLL(None).shmget(0, 4096, 0o1600)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        ctypes.CDLL(None).shmctl(self.segment, 0, None)
        for listener in (*self.listeners, self.datagrams):
            listener.close()
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.reached.append(listener.accept())

    def fill(self, code: str) -> str:
        for word, value in (
            ("FILE", self.file),
            ("FOLDER", self.folder),
            ("PORT", self.port),
            ("NAME", self.name),
            ("PID", self.process.pid),
            ("KEY", self.segment),
        ):
            code = code.replace(word, str(value))
        return code

    def harm(self) -> list[str]:
        found = []
        if self.process.poll() is not None:
            found.append("a process of the host was killed")
        if {file.name for file in self.folder.iterdir()} != {"secret"} or self.file.read_text() != self.secret:
            found.append("files of the host changed")
        self.datagrams.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self.reached.append(self.datagrams.recv(10))
        if self.reached:
            found.append("the host was reached by network")
        return found


def attack(session: Any, host: Host, kind: str, name: str, limits: Limits = LIMITS) -> list[str]:
    """Run one program; an empty list where nobody was harmed and the session goes on."""
    exchange = programs.EXCHANGES[name] if kind == "file exchange" else None
    code = exchange[0] if exchange else programs.PROGRAMS[kind][name]
    run = session.run(programs.PRELUDE + host.fill(code))
    wrong = host.harm()
    if exchange:
        run = _exchange(session, host, exchange[1], exchange[2], run)
    if "GOT" in run.output or host.secret in run.output:
        wrong.append(f"it got through: {run.output[-300:]}")
    if run.seconds > limits.wall + _SLACK:
        wrong.append(f"it took {run.seconds:.1f} s")
    if len(run.output) > limits.output + 200:
        wrong.append(f"it printed {len(run.output)} characters")
    if kind == "fork bomb" and run.stopped == "wall":
        wrong.append("it was ended by the clock, not refused")
    again = session.run("print(6 * 7)")
    if again.output != "42\n" or again.error is not None:
        wrong.append(f"the session is not usable: {again}")
    return wrong


def _exchange(session: Any, host: Host, verb: str, path: str, run: Any) -> Any:
    path = host.fill(path)
    try:
        data = session.read(path) if verb == "read" else session.write(path, b"x")
    except SandboxError:
        return run
    return type(run)(f"GOT {data!r}")


class Neighbour:
    """A session that counts in 100 MB of its own for as long as others attack."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.seconds: list[float] = []  # that its turns took
        self.wrong: list[str] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> Neighbour:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def harm(self) -> list[str]:
        """What went wrong, in sentences. A turn takes a twentieth of a second where nobody attacks."""
        found = [*self.wrong]
        if len(self.seconds) < 20:
            found.append(f"the neighbour had {len(self.seconds)} turns")
        elif (middle := statistics.median(self.seconds)) > 1.0:
            found.append(f"half of the neighbour's turns took more than {middle:.1f} s")
        return found

    def _work(self) -> None:
        self.session.run("turns = 0; held = bytearray(100 << 20)")
        while not self._done.wait(0.05) and not self.wrong:
            begin = time.monotonic()
            run = self.session.run("turns += 1; held[turns] = 1; turns + held.count(1)")
            self.seconds.append(time.monotonic() - begin)
            if run.output != f"{2 * len(self.seconds)}\n":
                self.wrong.append(f"the neighbour lost what it held: {run}")


def eight_at_once(sandbox: Any, host: Host, groups: list[list[tuple[str, str]]]) -> list[str]:
    """All groups of programs, each in a session of its own, beside a neighbour; what went wrong with any of them."""

    def one(group: list[tuple[str, str]]) -> list[str]:
        wrong = []
        with sandbox.open(ROOM) as session:
            for kind, name in group:
                wrong += [f"{kind}, {name}: {line}" for line in attack(session, host, kind, name, ROOM)]
                session.run(CLEAR)
        return wrong

    patient = replace(ROOM, wall=120.0, cpu=120.0)
    with sandbox.open(patient) as session, Neighbour(session) as neighbour, ThreadPoolExecutor(8) as pool:
        wrong = [line for lines in pool.map(one, groups) for line in lines]
    return wrong + neighbour.harm()


def main() -> None:
    """For an ordinary user, with the system's Python: every program, a line each that went wrong."""
    from agentrl.tools.sandboxes.local import Local

    with Host() as host:
        for line in eight_at_once(Local(), host, [[program] for program in ALL]):
            print(line)
    print(f"{len(ALL)} programs as user {os.getuid()}")


if __name__ == "__main__":
    main()
