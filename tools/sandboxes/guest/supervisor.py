"""Process 1 of a sandbox. It alone speaks with the host: a JSON line on stdin asks, one on stdout answers.

It forks the driver, gives it code through a pipe, collects what is printed, holds the run to its limits, and replaces
the driver where it broke. Code inside cannot signal process 1, look into it, or write to the host. When stdin ends it
ends, and the kernel ends everything else with it. Between runs the driver is stopped and no other process is left.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import select
import signal
import sys
import time
from typing import Any

import driver  # type: ignore[import-not-found]
import files  # type: ignore[import-not-found]

_POLL = 0.02  # seconds between two looks at what a run uses
_GRACE = 0.3  # seconds that an interrupted run gets to come back with its variables
_FILES = 16384  # files of a session: each costs kernel memory that the disk limit does not count
_PAGE = os.sysconf("SC_PAGESIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_DEATH_SIGNAL, _DUMPABLE, _SECCOMP, _NO_NEW_PRIVILEGES = 1, 4, 22, 38  # options of prctl(2)
Processes = list[tuple[int, list[bytes]]]  # pid, fields of /proc/PID/stat after the name


class Supervisor:
    def __init__(self, limits: dict[str, Any]) -> None:
        self.limits = limits
        self.alone = os.getpid() == 1  # every process that can be seen is the session's
        self.driver = 0
        self.number = 0
        self.start()

    def start(self) -> None:
        """Fork a fresh driver."""
        code_in, self.code = os.pipe()
        self.reply, reply_out = os.pipe()
        self.output, output_out = os.pipe()
        self.driver = os.fork()
        if not self.driver:
            try:
                driver.become(self.limits, code_in, reply_out, output_out)
            finally:
                os._exit(1)
        for fd in (code_in, reply_out, output_out):
            os.close(fd)
        for fd in (self.code, self.reply, self.output):
            os.set_blocking(fd, False)

    def hello(self) -> dict[str, Any]:
        return {}

    def write(self, path: str, data: str) -> dict[str, Any]:
        files.write(path, base64.b64decode(data))
        return {}

    def read(self, path: str) -> dict[str, Any]:
        return {"data": base64.b64encode(files.read(path, self.limits["disk"])).decode()}

    def run(self, code: str) -> dict[str, Any]:
        """Run code. Where an earlier run has spoilt the driver so that it cannot begin, on a fresh one."""
        answer = self.attempt(code)
        if not answer.pop("began"):
            answer = {**self.attempt(code), "restarted": True}
            del answer["began"]
        return answer

    def attempt(self, code: str) -> dict[str, Any]:
        """Let the driver run code. ``stopped`` names the limit that ended it."""
        self.number += 1
        begin = time.monotonic()
        output = Output(self.limits["output"])
        request, reply, answer, stopped = json.dumps([self.number, code]).encode() + b"\n", b"", None, None
        began = False
        spent = self.cpu(self.processes())
        deadline = begin + self.limits["wall"]
        writing = True
        _signal(self.driver, signal.SIGCONT)
        while answer is None:
            now = time.monotonic()
            if stopped is None:
                stopped = "wall" if now >= deadline else self.exceeded(spent, now - begin)
                if stopped is not None:  # KeyboardInterrupt first: it leaves the variables
                    deadline = time.monotonic() + (_GRACE if stopped in ("wall", "cpu") else 0)
                    _signal(self.driver, signal.SIGINT)
            elif now >= deadline:
                break
            poll = select.poll()
            for fd in (0, self.reply, *([self.output] if writing else [])):
                poll.register(fd, select.POLLIN)
            if request:
                poll.register(self.code, select.POLLOUT)
            ready = dict(poll.poll(max(0, min(_POLL, deadline - now)) * 1000))
            if 0 in ready:  # the host says nothing during a run: it is gone
                os._exit(0)
            if self.output in ready:
                writing = output.take(self.output)  # False: every writer closed it
            try:
                if self.code in ready:
                    request = request[os.write(self.code, request) :]
            except OSError:
                break
            if self.reply in ready:
                data = _read(self.reply)
                reply += data
                if not data or len(reply) > 65536:
                    break
                if not began and reply[:1] == b"\n":
                    began, reply = True, reply[1:]
                if b"\n" in reply:
                    answer = self.parse(reply)
        began = began or stopped is not None
        seconds = time.monotonic() - begin
        return {**self.finish(answer, output), "stopped": stopped, "seconds": seconds, "began": began}

    def finish(self, answer: Any, output: Output) -> dict[str, Any]:
        """Leave the session quiet: one stopped driver, a fresh one where the old one broke. Files stay."""
        broken = not answer or not self.tidy()
        if broken:
            self.end_all()
        else:
            _signal(self.driver, signal.SIGSTOP)
        while output.take(self.output):
            pass
        if broken:
            for fd in (self.code, self.reply, self.output):
                os.close(fd)
            self.start()
        return {"output": output.text(), "error": None if broken else answer[1], "restarted": broken}

    def parse(self, reply: bytes) -> Any:
        """What the driver says; anything else, whoever wrote it, means that the driver is broken."""
        try:
            answer = json.loads(reply)
        except ValueError:
            return ()
        fits = isinstance(answer, list) and len(answer) == 2 and answer[0] == self.number
        return answer if fits and (answer[1] is None or isinstance(answer[1], str)) else ()

    def processes(self) -> Processes:
        """The living processes of the session but this one."""
        found = []
        for name in os.listdir("/proc"):
            if not name.isdigit() or int(name) == os.getpid():
                continue
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if fields and fields[0] not in (b"Z", b"X") and (self.alone or int(fields[3]) == self.driver):
                found.append((int(name), fields))
        return found

    def end_all(self) -> None:
        """Kill until nothing is left: a process that is being killed still holds its memory."""
        for _ in range(1000):
            if self.alone:
                _signal(-1, signal.SIGKILL)
            _signal(self.driver, signal.SIGKILL)
            others = self.processes()
            for pid, _ in others:
                _signal(pid, signal.SIGKILL)
            _reap()
            if not others:
                return
            time.sleep(0.002)
        os._exit(1)  # the kernel cannot end them; the host takes a new sandbox

    def tidy(self) -> bool:
        """End what the run started and left behind. False where it would not end."""
        for _ in range(50):
            others = [pid for pid, _ in self.processes() if pid != self.driver]
            for pid in others:
                _signal(pid, signal.SIGKILL)
            _reap(self.driver)
            if not others:
                return True
            time.sleep(0.001)
        return False

    def exceeded(self, spent: float, elapsed: float) -> str | None:
        """Which limit the session is over, if any."""
        if elapsed < _POLL:
            return None
        _reap(self.driver)
        processes, memory = self.processes(), self.limits["memory"]
        resident = {pid: int(fields[21]) * _PAGE for pid, fields in processes}
        if self.cpu(processes) - spent > self.limits["cpu"]:
            return "cpu"
        if sum(resident.values()) > memory:  # what is shared is counted often
            if sum(_proportional(pid, size) for pid, size in resident.items()) > memory:
                return "memory"
        disk = os.statvfs(".")
        return "disk" if self.alone and disk.f_files - disk.f_ffree > _FILES else None

    def cpu(self, processes: Processes) -> float:
        """Seconds of processor time, of what has ended too."""
        ended = os.times()
        running = sum(sum(map(int, fields[11:15])) for _, fields in processes)
        return ended.children_user + ended.children_system + running / _TICK

    def serve(self) -> None:
        pending = b""
        while True:
            while b"\n" not in pending:
                data = os.read(0, 1 << 20)
                if not data:
                    os._exit(0)
                pending += data
            line, _, pending = pending.partition(b"\n")
            request = json.loads(line)
            try:
                answer = getattr(self, request.pop("op"))(**request)
            except (OSError, ValueError) as error:
                answer = {"failed": str(error)[:500]}
            reply = json.dumps(answer).encode() + b"\n"
            while reply:
                reply = reply[os.write(1, reply) :]


class Output:
    """The first and the last half of what was written, as far as the limit lets."""

    def __init__(self, limit: int) -> None:
        self.half = limit // 2
        self.head, self.tail, self.lost = bytearray(), bytearray(), 0

    def take(self, fd: int) -> bool:
        """Whether there was anything."""
        data = _read(fd)
        room = self.half - len(self.head)
        self.head += data[:room]
        self.tail += data[room:]
        over = len(self.tail) - self.half
        if over > 0:
            del self.tail[:over]
            self.lost += over
        return bool(data)

    def text(self) -> str:
        cut = f"\n... {self.lost} bytes cut ...\n".encode() if self.lost else b""
        return (bytes(self.head) + cut + bytes(self.tail)).decode("utf-8", "replace")


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:
        pass


def _reap(but: int = 0) -> None:
    """Collect children that ended. The driver's own end shows by its pipes, so it is left for ``end_all``."""
    try:
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == but:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _proportional(pid: int, otherwise: int) -> int:
    """Memory of a process in bytes, where what it shares counts in part."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return int(file.read().partition(b"\nPss:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return otherwise


def main() -> None:
    del sys.path[0]  # the folder of this file: its modules are loaded
    config = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the kernel keeps all signals from process 1 that it does not handle
    uid = config.pop("uid")
    if uid is not None:  # the host's root: become a user that nobody else is, so that limits count for this session
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    prctl = ctypes.CDLL(None).prctl
    prctl(_DUMPABLE, 0, 0, 0, 0)  # code inside cannot open this process's memory or descriptors
    if config.pop("tied"):
        prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    refuse(base64.b64decode(config.pop("seccomp")))
    Supervisor(config).serve()


def refuse(program: bytes) -> None:
    """Install a filter of system calls, for this process and all that come from it. An empty one refuses nothing."""
    if not program:
        return

    class Filter(ctypes.Structure):  # struct sock_fprog
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    installed = Filter(len(program) // 8, program)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, 2, ctypes.byref(installed), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


if __name__ == "__main__":
    main()
