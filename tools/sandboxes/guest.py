"""What runs inside a sandbox: a supervisor, and the Python interpreter whose variables last.

The supervisor is process 1 in there. It alone speaks with the host: a JSON line on stdin asks, one on stdout answers;
when stdin ends it ends, and the kernel ends everything else with it. It forks the interpreter (the driver), gives it
code through a pipe, collects what it prints, holds it to its limits, and replaces it where it broke. Code can spoil
its own driver in any way it likes; it cannot signal process 1, look into it, or write to the host.

Between runs the driver is stopped and every other process is gone. This file needs nothing but Python >= 3.9.
"""

import base64
import ctypes
import json
import os
import resource
import select
import signal
import stat
import sys
import time

_POLL = 0.02  # seconds between two looks at what a run uses
_GRACE = 0.3  # seconds that an interrupted run gets to come back with its variables
_FILES = 16384  # files of a session: each costs kernel memory that the disk limit does not count
_PAGE = os.sysconf("SC_PAGESIZE")
_TICK = os.sysconf("SC_CLK_TCK")
_DEATH_SIGNAL, _DUMPABLE = 1, 4  # options of prctl(2)


class Supervisor:
    def __init__(self, config):
        self.limits = config
        self.alone = os.getpid() == 1  # every process that can be seen is the session's
        self.driver = 0
        self.number = 0

    def start(self):
        """Fork a fresh driver."""
        code_in, code_out = os.pipe()
        reply_in, reply_out = os.pipe()
        output_in, output_out = os.pipe()
        self.driver = os.fork()
        if not self.driver:
            try:
                _become_driver(self.limits, code_in, reply_out, output_out)
            finally:
                os._exit(1)
        for fd in (code_in, reply_out, output_out):
            os.close(fd)
        for fd in (code_out, reply_in, output_in):
            os.set_blocking(fd, False)
        self.code, self.reply, self.output = code_out, reply_in, output_in

    def end_all(self):
        if self.alone:
            _signal(-1, signal.SIGKILL)
        for pid, _ in self.processes():
            _signal(pid, signal.SIGKILL)
        _signal(self.driver, signal.SIGKILL)
        try:
            os.waitpid(self.driver, 0)
        except ChildProcessError:
            pass
        _reap()

    def processes(self):
        """(pid, fields of /proc/PID/stat after the name) of every living process of the session but this one."""
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

    def run(self, code):
        self.number += 1
        begin = time.monotonic()
        collected = _Output(self.limits["output"])
        to_send = json.dumps([self.number, code]).encode() + b"\n"
        received = b""
        spent = self.cpu(self.processes())
        stopped = answer = None
        writing = True
        deadline = begin + self.limits["wall"]
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
            poll.register(0, select.POLLIN)
            if writing:
                poll.register(self.output, select.POLLIN)
            poll.register(self.reply, select.POLLIN)
            if to_send:
                poll.register(self.code, select.POLLOUT)
            ready = dict(poll.poll(max(0, min(_POLL, deadline - now)) * 1000))
            if 0 in ready and not os.read(0, 1):  # the host is gone
                os._exit(0)
            if self.output in ready:
                writing = collected.take(self.output)  # False: every writer closed it
            if self.code in ready:
                try:
                    to_send = to_send[os.write(self.code, to_send) :]
                except OSError:
                    break
            if self.reply in ready:
                data = _read(self.reply)
                received += data
                if not data or len(received) > 65536:
                    break
                if b"\n" in received:
                    answer = self.parse(received)
        return self.finish(answer, stopped, collected, begin)

    def finish(self, answer, stopped, collected, begin):
        """Leave the session quiet: one stopped driver, a fresh one where the old one broke. Files stay."""
        broken = not isinstance(answer, list) or not self.tidy()
        if broken:
            self.end_all()
        else:
            _signal(self.driver, signal.SIGSTOP)
        while collected.take(self.output):
            pass
        if broken:
            for fd in (self.code, self.reply, self.output):
                os.close(fd)
            self.start()
        error = None if broken else answer[1]
        return {
            "output": collected.text(),
            "error": error if isinstance(error, str) else None,
            "stopped": stopped,
            "restarted": broken,
            "seconds": time.monotonic() - begin,
        }

    def parse(self, received):
        """What the driver says; anything else, whoever wrote it, means that the driver is broken."""
        try:
            answer = json.loads(received)
        except ValueError:
            return ()
        fits = isinstance(answer, list) and len(answer) == 2 and answer[0] == self.number
        return answer if fits else ()

    def tidy(self):
        """End what the run started and left behind. False where it would not end."""
        for _ in range(20):
            others = [pid for pid, _ in self.processes() if pid != self.driver]
            for pid in others:
                _signal(pid, signal.SIGKILL)
            _reap(self.driver)
            if not others:
                return True
            time.sleep(0.001)
        return False

    def exceeded(self, spent, elapsed):
        """Which limit the session is over, if any."""
        if elapsed < _POLL:
            return None
        _reap(self.driver)
        processes = self.processes()
        if self.cpu(processes) - spent > self.limits["cpu"]:
            return "cpu"
        if sum(int(fields[21]) for _, fields in processes) * _PAGE > self.limits["memory"]:
            if sum(_proportional(pid, int(fields[21]) * _PAGE) for pid, fields in processes) > self.limits["memory"]:
                return "memory"
        if self.alone:
            disk = os.statvfs(".")
            if disk.f_files - disk.f_ffree > _FILES:
                return "disk"
        return None

    def cpu(self, processes):
        """Seconds of processor time, of what has ended too."""
        own = os.times()
        return own[2] + own[3] + sum(sum(map(int, fields[11:15])) for _, fields in processes) / _TICK

    def write(self, path, data):
        with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, make=True) as file:
            file.write(base64.b64decode(data))
        return {}

    def read(self, path):
        with _opened(path, os.O_RDONLY) as file:
            data = file.read(self.limits["disk"] + 1)
        if len(data) > self.limits["disk"]:
            raise ValueError(f"{path!r} is larger than the disk limit")
        return {"data": base64.b64encode(data).decode()}

    def hello(self):
        return {}

    def serve(self):
        self.start()
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
            _write_all(1, json.dumps(answer).encode() + b"\n")


class _Output:
    """The first and the last half of what was written, as far as the limit lets."""

    def __init__(self, limit):
        self.half = limit // 2
        self.head, self.tail, self.lost = bytearray(), bytearray(), 0

    def take(self, fd):
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

    def text(self):
        cut = f"\n... {self.lost} bytes cut ...\n".encode() if self.lost else b""
        return (bytes(self.head) + cut + bytes(self.tail)).decode("utf-8", "replace")


def _opened(path, flags, make=False):
    """A regular file below the current folder; no name and no link leads out of it."""
    parts = path.split("/")
    if not path or "\0" in path or path.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{path!r} is no plain relative path")
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            if make:
                try:
                    os.mkdir(part, dir_fd=folder)
                except FileExistsError:
                    pass
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        fd = os.open(parts[-1], flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=folder)
    finally:
        os.close(folder)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError(f"{path!r} is no regular file")
    return os.fdopen(fd, "wb" if flags & os.O_WRONLY else "rb")


def _proportional(pid, otherwise):
    """Memory of a process in bytes, where what it shares counts in part."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            return int(file.read().partition(b"\nPss:")[2].split()[0]) * 1024
    except (OSError, IndexError):
        return otherwise


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except OSError:
        pass


def _reap(but=0):
    """Collect children that ended. The driver's own end shows by its pipes, so it is left for ``replace``."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == but:
                return
            os.waitpid(ended.si_pid, os.WNOHANG)
        except ChildProcessError:
            return


def _read(fd):
    try:
        return os.read(fd, 1 << 16)
    except BlockingIOError:
        return b""


def _write_all(fd, data):
    while data:
        data = data[os.write(fd, data) :]


def _become_driver(limits, code, reply, output):
    """In the forked child: no descriptor and no right that the supervisor has, then code until the end."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    code, reply, output, null = (_above(fd) for fd in (code, reply, output, null))
    for fd, target in ((null, 0), (output, 1), (output, 2), (code, 3), (reply, 4), (output, 5)):
        os.dup2(fd, target, inheritable=target < 3)
    os.closerange(6, 1024)
    ctypes.CDLL(None).prctl(_DUMPABLE, 1, 0, 0, 0)
    for what, limit in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        if limit is not None:
            resource.setrlimit(what, (limit, limit))
    os.nice(5)  # the supervisor and the rest of the machine come first
    for name in ("__main__", "base64", "ctypes", "json", "resource", "select"):
        sys.modules.pop(name, None)
    _drive()


def _above(fd):
    """The same file under a number that is not about to be used."""
    while fd < 10:
        fd = os.dup(fd)
    return fd


def _drive():
    """Read code, run it, say how it ended. What code may replace (builtins, modules) is held in locals from here on."""
    import _ast
    import builtins
    import types

    module = types.ModuleType("__main__")
    space, fresh = vars(module), dict(vars(builtins))
    modules = sys.modules
    modules["__main__"] = module
    kinds = (_ast.Expr, _ast.Expression, _ast.Interactive)
    loads, dumps, encode = json.loads, json.dumps, str.encode
    opened, getpid, waitpid, leave, dup2 = open, os.getpid, os.waitpid, os._exit, os.dup2
    arm, show, mine = signal.signal, sys.__excepthook__, os.getpid()
    requests = open(3, "rb", buffering=0)
    pending = b""

    def execute(code):
        tree = compile(code, "<cell>", "exec", _ast.PyCF_ONLY_AST)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], kinds[0]) else None
        exec(compile(tree, "<cell>", "exec"), space)
        if last is not None:
            value = eval(compile(kinds[1](last.value), "<cell>", "eval"), space)
            if value is not None:
                print(repr(value))

    while True:
        while b"\n" not in pending:
            data = requests.read(1 << 16)
            if not data:
                leave(0)
            pending += data
        line, _, pending = pending.partition(b"\n")
        number, code = loads(line)
        try:
            while waitpid(-1, 1)[0]:  # WNOHANG: what the last run left behind was ended
                pass
        except ChildProcessError:
            pass
        vars(builtins).update(fresh)
        modules["builtins"], modules["sys"], modules["__main__"] = builtins, sys, module
        dup2(5, 1)
        dup2(5, 2)
        sys.stdin = opened(0, encoding="utf-8", errors="replace", closefd=False)
        sys.stdout = opened(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        sys.stderr = opened(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
        out, err, error = sys.stdout, sys.stderr, None
        try:
            try:
                arm(signal.SIGINT, signal.default_int_handler)
                execute(code)
            finally:
                arm(signal.SIGINT, signal.SIG_IGN)
        except SystemExit as end:
            error = None if end.code in (None, 0) else f"SystemExit: {end.code!s:.500}"
        except BaseException as caught:
            error = f"{type(caught).__name__}: {caught!s:.500}"
            try:
                sys.stdout, sys.stderr = out, err
                out.flush()
                trace = caught.__traceback__
                while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                    trace = trace.tb_next
                show(type(caught), caught, trace)
            except BaseException:
                pass
        if getpid() != mine:  # code forked and came back here
            leave(0)
        try:
            out.flush()
        except BaseException:
            pass
        _write_all(4, encode(dumps([number, error])) + b"\n")


def main():
    config = json.loads(sys.argv[1])
    uid = config.pop("uid")
    if uid is not None:  # the host's root: become a user that nobody else is, so that limits count for this session
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    prctl = ctypes.CDLL(None).prctl
    prctl(_DUMPABLE, 0, 0, 0, 0)  # code inside cannot open this process's memory or descriptors
    if config.pop("tied"):
        prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
    Supervisor(config).serve()


if __name__ == "__main__":
    main()
