"""The interpreter whose variables last. Code may spoil it in any way; the supervisor notices and replaces it."""

from __future__ import annotations

import _ast
import builtins
import ctypes
import json
import os
import resource
import signal
import sys
import types
from typing import Any

_DEATH_SIGNAL, _DUMPABLE = 1, 4  # options of prctl(2)
_REQUESTS, _REPLIES, _OUTPUT = 3, 4, 5  # descriptors
_FILES = 256  # open ones
_HIDDEN = ("__main__", "_ast", "ctypes", "driver", "files", "json", "resource", "select", "supervisor", "types")


def become(limits: dict[str, Any], code: int, reply: int, output: int) -> None:
    """In a forked child: give up every descriptor and right of the supervisor, then run code until the end."""
    os.setsid()
    null = os.open(os.devnull, os.O_RDONLY)
    code, reply, output, null = (_above(fd) for fd in (code, reply, output, null))
    for fd, target in ((null, 0), (output, 1), (output, 2), (code, _REQUESTS), (reply, _REPLIES), (output, _OUTPUT)):
        os.dup2(fd, target, inheritable=target < 3)
    os.closerange(_OUTPUT + 1, 1024)
    prctl = ctypes.CDLL(None).prctl
    prctl(_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)  # stopped, it would not notice that its pipes end
    prctl(_DUMPABLE, 1, 0, 0, 0)
    for what, limit in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(what, (limit, limit))
    os.nice(5)  # the supervisor and the rest of the machine come first
    for name in _HIDDEN:  # code that imports one gets a module of its own
        sys.modules.pop(name, None)
    _drive()


def _above(fd: int) -> int:
    """The same file under a number that is not about to be used."""
    while fd < 10:
        fd = os.dup(fd)
    return fd


def _drive() -> None:
    """Read code, run it, say how it ended. What code may replace (builtins, modules) is held in locals from here on."""
    module = types.ModuleType("__main__")
    space, fresh, modules = vars(module), dict(vars(builtins)), sys.modules
    loads, dumps, encode, opened, text = json.loads, json.dumps, str.encode, open, str
    getpid, waitpid, write, leave, dup2 = os.getpid, os.waitpid, os.write, os._exit, os.dup2
    arm, interrupt, default, ignore = signal.signal, signal.SIGINT, signal.default_int_handler, signal.SIG_IGN
    system, own, show, mine, cell = sys, builtins, sys.__excepthook__, os.getpid(), _cell
    requests = open(_REQUESTS, "rb", buffering=0)
    pending = b""
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
        vars(own).update(fresh)
        modules["builtins"], modules["sys"], modules["__main__"] = own, system, module
        dup2(_OUTPUT, 1)
        dup2(_OUTPUT, 2)
        system.stdin = opened(0, encoding="utf-8", errors="replace", closefd=False)
        out = opened(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
        err = opened(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1)
        system.stdout, system.stderr, error = out, err, None
        write(_REPLIES, b"\n")  # ready: from here on it is the code's doing
        try:
            try:
                arm(interrupt, default)
                cell(code, space)
            finally:
                arm(interrupt, ignore)
        except SystemExit as end:
            error = None if end.code in (None, 0) else f"SystemExit: {end.code!s:.500}"
        except BaseException as caught:
            error = type(caught).__name__ + ": (without words)"
            try:
                error = f"{type(caught).__name__}: {caught!s:.500}"
                system.stdout, system.stderr = out, err
                out.flush()
                trace = caught.__traceback__
                while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
                    trace = trace.tb_next
                caught.__traceback__ = trace  # without our own frames
                show(type(caught), caught, trace)
            except BaseException:
                pass
        if getpid() != mine:  # code forked and came back here
            leave(0)
        try:
            out.flush()
        except BaseException:
            pass
        reply = encode(dumps([number, error and text(error)])) + b"\n"
        while reply:
            reply = reply[write(_REPLIES, reply) :]


def _cell(code: str, space: dict[str, Any]) -> None:
    """Run code as a notebook does: the value of a last expression is printed."""
    tree: Any = compile(code, "<cell>", "exec", _ast.PyCF_ONLY_AST)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], _ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), space)
    if last is not None:
        value = eval(compile(_ast.Expression(last.value), "<cell>", "eval"), space)
        if value is not None:
            print(repr(value))
