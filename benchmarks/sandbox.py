"""What a sandbox costs: starting a session, a warm call against the bare interpreter's, many sessions side by side.

    python benchmarks/sandbox.py [--sandbox local] [--sessions 64]

Prints JSON. Times are medians in milliseconds; memory is what all processes of the sessions hold in common and alone
(PSS), in MiB, with every session having run code.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from agentrl.tools.sandboxes import Limits, sandbox_named

CODE = "total = sum(i * i for i in range(100)); print(total)"
BARE = "import sys\nspace = {}\nfor line in sys.stdin:\n    exec(line, space)\n    print(flush=True)\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sandbox", default="local")
    parser.add_argument("--sessions", type=int, default=64)
    asked = parser.parse_args()
    sandbox = sandbox_named(asked.sandbox)
    limits = Limits()
    open_ms = median(lambda: sandbox.open(limits).close(), 15)
    with sandbox.open(limits) as session:  # type: ignore[attr-defined]
        session.run(CODE)
        warm_ms = median(lambda: session.run(CODE), 300)
    bare_ms = bare()
    with ThreadPoolExecutor(asked.sessions) as pool:
        begin = time.perf_counter()
        sessions = list(pool.map(lambda _: sandbox.open(limits), range(asked.sessions)))
        opened = time.perf_counter() - begin
        begin = time.perf_counter()
        runs = list(pool.map(lambda s: s.run(CODE + "\nheld = bytearray(8 << 20)"), sessions))
        ran = time.perf_counter() - begin
        assert all(run.output == "328350\n" for run in runs)
        memory = sum(proportional(pid) for session in sessions for pid in family(session))
        list(pool.map(lambda s: s.close(), sessions))
    print(json.dumps({
        "sandbox": asked.sandbox,
        "open_ms": open_ms,
        "warm_call_ms": warm_ms,
        "bare_call_ms": bare_ms,
        "over_bare_ms": round(warm_ms - bare_ms, 3),
        "sessions": asked.sessions,
        "open_all_s": round(opened, 2),
        "run_all_s": round(ran, 2),
        "memory_mib": round(memory / 1024, 1),
    }, indent=2))  # fmt: skip


def median(call: Callable[[], Any], times: int) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begin)
    return round(statistics.median(taken) * 1e3, 3)


def bare() -> float:
    """The same code in a plain interpreter over pipes."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BARE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def call() -> None:
            stdin.write(CODE.encode() + b"\n")
            stdin.flush()
            stdout.readline()
            stdout.readline()

        call()
        found = median(call, 300)
        stdin.close()
    return found


def family(session: Any) -> list[int]:
    """The processes of a session on this machine, a container's with the daemon's process that looks after it."""
    guest = getattr(session, "_guest", None)
    if (process := getattr(guest, "_process", None)) is not None:
        found = [process.pid]
    elif hasattr(guest, "_api"):
        first = guest._api.inspect_container(guest._id)["State"]["Pid"]
        found = [int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])]
    else:
        return []
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def proportional(pid: int) -> int:
    """KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(text.partition("\nPss:")[2].split()[0])


if __name__ == "__main__":
    main()
