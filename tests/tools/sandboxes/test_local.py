"""A session of the local sandbox as a user sees it; what hostile code does is in test_battery.py."""

import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentrl.errors import UserError
from agentrl.tools.sandboxes import Limits, SandboxError, local, sandbox_named
from agentrl.tools.sandboxes.local import Local

LIMITS = Limits(wall=5.0)


@pytest.fixture(params=[False, True], ids=["confined", "unconfined"])
def session(request):
    with Local(unconfined=request.param).open(LIMITS) as opened:
        yield opened


def test_variables_last_and_the_last_expression_is_printed(session):
    assert session.run("x = 20\ndef double(n):\n    return 2 * n").output == ""
    assert session.run("print('so'); double(x) + 2").output == "so\n42\n"
    assert session.run("None").output == ""


def test_an_exception_is_told_and_nothing_is_lost(session):
    session.run("x = 1")
    run = session.run("x = 2\nmissing + 1")
    assert run.error == "NameError: name 'missing' is not defined"
    assert run.output.splitlines()[-2:] == ['  File "<cell>", line 2, in <module>', run.error]
    assert "driver.py" not in run.output
    assert (session.run("x").output, run.restarted) == ("2\n", False)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("x = ", "SyntaxError: invalid syntax (<cell>, line 1)"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; sys.exit()", None),
        ("input()", "EOFError: EOF when reading a line"),
        ("'\\0'", None),
        ("class E(Exception):\n    def __str__(self): 1 / 0\nraise E", "E: (without words)"),
    ],
)
def test_however_a_run_ends_the_session_goes_on(session, code, error):
    run = session.run(code)
    assert (run.error, run.restarted) == (error, False)
    assert session.run("6 * 7").output == "42\n"


def test_output_and_errors_come_in_order(session):
    run = session.run("import sys\nprint('a', flush=True); print('b', file=sys.stderr); print('c')")
    assert run.output == "a\nb\nc\n"


def test_long_output_keeps_its_head_and_its_tail():
    with Local().open(Limits(output=1000)) as session:
        output = session.run("for i in range(100_000): print(i)").output
    assert output.startswith("0\n1\n")
    assert output.endswith("99999\n")
    assert "bytes cut" in output
    assert len(output) < 1100


def test_an_interrupted_run_keeps_the_variables():
    with Local().open(Limits(wall=0.5)) as session:
        run = session.run("x = 7\nwhile True: pass")
        assert (run.stopped, run.restarted) == ("wall", False)
        assert session.run("x").output == "7\n"


def test_a_run_is_held_to_its_processor_time():
    with Local().open(Limits(wall=60.0, cpu=0.5)) as session:
        assert session.run("while True: pass").stopped == "cpu"


def test_a_driver_that_is_gone_is_replaced_and_files_stay(session):
    session.write("data.txt", b"kept")
    session.run("x = 7")
    assert session.run("import os; os._exit(0)").restarted
    assert session.run("'x' in globals(), open('data.txt').read()").output == "(False, 'kept')\n"


def test_a_driver_that_was_spoilt_is_replaced_before_the_next_code_runs(session):
    session.run("import os; os.close(3)")
    run = session.run("6 * 7")
    assert (run.output, run.error, run.restarted) == ("42\n", None, True)


def test_files_go_in_and_out(session):
    data = bytes(range(256)) * 1000
    session.write("folder/a b\n.bin", data)
    assert session.read("folder/a b\n.bin") == data
    session.write("folder/a b\n.bin", b"")
    assert session.run("import os; os.path.getsize('folder/a b\\n.bin')").output == "0\n"
    for path in ("", "missing", "folder", "../x", "/etc/passwd", "folder/../../x", "a\0b"):
        with pytest.raises(SandboxError):
            session.read(path)


def test_processes_end_with_their_run(session):
    session.run("import subprocess; p = subprocess.Popen(['sleep', '60'])")
    assert session.run("p.poll() is not None or p.wait(1)").error is None


def test_a_thread_stands_still_between_runs():
    with Local().open(LIMITS) as session:
        session.run(
            "import threading, time\nn = 0\ndef count():\n    global n\n    while True: n += 1; time.sleep(0.01)\n"
            "threading.Thread(target=count, daemon=True).start()"
        )
        time.sleep(0.5)
        assert int(session.run("n").output) < 20


def test_packages_of_the_host_are_not_there():
    with Local().open(LIMITS) as session:
        for package in ("agentrl", "pydantic", "pip"):
            assert session.run(f"import {package}").error == f"ModuleNotFoundError: No module named '{package}'"


def test_sessions_share_nothing():
    with Local().open(LIMITS) as one, Local().open(LIMITS) as two:
        one.run("x = 1; open('here', 'w').close()")
        assert two.run("import os; 'x' in globals(), os.listdir('.')").output == "(False, [])\n"


def test_a_closed_session_says_so():
    session = Local().open(LIMITS)
    session.close()
    session.close()
    with pytest.raises(SandboxError, match="closed"):
        session.run("1")
    assert not session.alive()


def test_what_the_guest_writes_beside_the_protocol_ends_only_its_session(monkeypatch, tmp_path):
    import shutil

    guest = shutil.copytree(local._HERE, tmp_path / "guest")
    text = (guest / "supervisor.py").read_text()
    (guest / "supervisor.py").write_text(text.replace('"""Run code. Where', 'os.write(1, b"junk\\n")\n        """'))
    monkeypatch.setattr(local, "_HERE", str(guest))
    with Local().open(LIMITS) as session:
        run = session.run("1")
        assert (run.restarted, run.output) == (True, "")


def test_a_stuck_guest_is_replaced(monkeypatch):
    from agentrl.tools.sandboxes import session as host_side

    monkeypatch.setattr(host_side, "_SLACK", 0.2)
    with Local().open(Limits(wall=0.5)) as session:
        stuck = inner(session)
        os.kill(stuck, signal.SIGSTOP)
        run = session.run("1")
        assert (run.stopped, run.restarted) == ("wall", True)
        assert session.run("1").output == "1\n"
    ended([stuck])


@pytest.mark.parametrize("unconfined", [False, True])
@pytest.mark.parametrize("layers", [local.LAYERS, local.LAYERS - {"pids"}])
def test_a_closed_session_leaves_no_process(unconfined, layers):
    with Local(unconfined=unconfined, layers=layers).open(LIMITS) as session:
        session.run("x = 1")  # after a run the driver is stopped, and hears nothing
        everything = family(session._guest._process.pid)
        assert len(everything) >= 2
    ended(everything)


def test_a_session_that_nobody_closed_ends_when_it_is_forgotten():
    session = Local().open(LIMITS)
    pid = session._guest._process.pid
    del session
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize("unconfined", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_sandboxes_end_with_the_program_that_started_them(number, unconfined):
    code = (
        "import threading\nfrom agentrl.tools.sandboxes import Limits\n"
        "from agentrl.tools.sandboxes.local import Local\n"
        f"s = [Local(unconfined={unconfined}).open(Limits(wall=60)) for _ in range(3)]\n"
        "s[1].run('1')\n"
        "threading.Thread(target=s[0].run, args=('import time; time.sleep(60)',), daemon=True).start()\n"
        "print(*[x._guest._process.pid for x in s], flush=True)\nthreading.Event().wait(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
        outer = list(map(int, program.stdout.readline().split()))
        everything = [member for pid in outer for member in family(pid)]
        assert len(everything) >= 6
        program.send_signal(number)
        program.wait()
    ended(everything)


def test_a_session_may_be_opened_in_a_thread_that_ends():
    with ThreadPoolExecutor(1) as pool:
        session = pool.submit(Local().open, LIMITS).result()
    time.sleep(0.2)
    assert session.run("1").output == "1\n"
    session.close()


def test_without_bubblewrap_it_refuses_and_names_the_cure(monkeypatch):
    local.require.cache_clear()
    monkeypatch.setenv("PATH", "/nowhere")
    try:
        with pytest.raises(UserError, match="apt-get install bubblewrap"):
            Local().open(LIMITS)
        with sandbox_named("unconfined").open(LIMITS) as session:  # told to
            assert session.run("open('/etc/passwd').read()[:5]").output == "'root:'\n"
    finally:
        local.require.cache_clear()


def test_a_sandbox_that_cannot_start_says_what_bubblewrap_said(monkeypatch):
    monkeypatch.setattr(local, "_system", lambda: ("--ro-bind", "/no such folder", "/usr"))
    for worked, kind in ((False, UserError), (True, SandboxError)):
        monkeypatch.setattr(Local, "_worked", worked)
        with pytest.raises(kind, match="no such folder"):
            Local().open(LIMITS)


def test_an_unknown_sandbox_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'local'"):
        sandbox_named("locl")


def children(pid):
    return [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]


def family(pid):
    return [pid, *[member for child in children(pid) for member in family(child)]]


def ended(pids):
    deadline = time.monotonic() + 60
    while any(map(alive, pids)):
        assert time.monotonic() < deadline, "processes were left behind"
        time.sleep(0.02)


def inner(session):
    return children(session._guest._process.pid)[0]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
