"""Hostile programs in the local sandbox: nobody is harmed, every one ends, and the session goes on."""

import dataclasses
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import programs
import pytest
from attack import ALL, LIMITS, Host, attack, eight_at_once

from agentrl.tools.sandboxes import local
from agentrl.tools.sandboxes.local import LAYERS, Local

ROOT = Path(__file__).parents[3]
KINDS = [*programs.PROGRAMS, "file exchange"]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def host():
    with Host() as made:
        yield made


def test_the_battery_is_as_broad_as_it_says():
    assert len(ALL) >= 60
    assert len(KINDS) >= 12
    assert max(sum(kind == k for k, _ in ALL) for kind in KINDS) <= 6


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_harmed(kind, host):
    wrong = []
    for name in [n for k, n in ALL if k == kind]:
        with Local().open(LIMITS) as session:
            wrong += [f"{name}: {line}" for line in attack(session, host, kind, name)]
    assert wrong == []


@pytest.mark.slow
def test_nobody_is_harmed_by_eight_at_once_and_a_neighbour_works_on(host):
    assert eight_at_once(Local(), host, [[program] for program in ALL]) == []


@pytest.mark.slow
@AS_ROOT
def test_nobody_is_harmed_where_an_ordinary_user_starts_the_sandbox():
    """Eight at once again, in a process of that user's, with the system's Python: this one's folder may be closed."""
    with tempfile.TemporaryDirectory() as folder:  # pytest closes its own to others whenever it starts
        home = Path(folder)
        home.chmod(0o755)
        library = home / "agentrl"
        shutil.copytree(ROOT / "tools" / "sandboxes", library / "tools" / "sandboxes")
        for name in ("__init__.py", "errors.py", "once.py"):
            shutil.copy(ROOT / "agentrl" / name, library)
        for part in ("envs", "trainers"):
            (library / part).mkdir()
        (library / "tools" / "__init__.py").touch()
        for name in ("programs.py", "attack.py"):
            shutil.copy(Path(__file__).parent / name, home)
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-B", "attack.py"]
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(home)}
        run = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, timeout=240)
    assert run.stdout == f"{len(ALL)} programs as user 65534\n", run.stderr


# What is taken away, and a program that then gets what it wants.
WITHOUT_A_LAYER = {
    "files": ("host files", "read"),
    "pids": ("proc", "a process of the host"),
    "network": ("network", "the host's connections"),
    "ipc": ("proc", "segments of the host"),
    "user": ("fork bomb", "children"),
    "seccomp": ("ptrace", "a child"),
    "environment": ("environment variables", "own"),
}
WITHOUT_A_LIMIT = {
    "wall": ({"wall": 30.0, "cpu": 30.0}, ("time", "sleep")),
    "cpu": ({"wall": 30.0, "cpu": 60.0}, ("time", "loop")),
    "memory": ({"memory": 2 << 30, "wall": 30.0, "cpu": 30.0}, ("memory bomb", "one block")),
    "processes": ({"processes": 512}, ("fork bomb", "children")),
    "disk": ({"disk": 256 << 20}, ("disk", "one file")),
    "output": ({"output": 64 << 20}, ("endless output", "lines")),
}
# Lines of the guest that confine, what stands there instead, and code that then prints GOT.
WITHOUT_A_LINE = {
    "closed to those inside": (
        "supervisor.py",
        "prctl(_DUMPABLE, 0, 0, 0, 0)",
        "prctl(_DUMPABLE, 1, 0, 0, 0)",  # leaving it out does for ordinary users: for root, changing the user closes it
        "open('/proc/1/mem', 'rb+'); print('GOT the supervisor')",
    ),
    "deaf to interrupts": (
        "supervisor.py",
        "signal.signal(signal.SIGINT, signal.SIG_IGN)",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",  # the host's may be ignored, which is inherited
        "import os, time; os.kill(1, 2); time.sleep(5); print('alone')",
    ),
    "nothing outlives a run": (
        "supervisor.py",
        "others = [pid for pid, _ in self.processes() if pid != self.driver]",
        "others = []",
        "import os, time\nif not os.fork(): time.sleep(0.2); os.write(1, b'GOT a later run'); os._exit(0)",
    ),
    "the driver has no other descriptors": (
        "driver.py",
        "os.closerange(_OUTPUT + 1, 1024)",
        "os.dup2(code - 10, 50)",
        "import os; os.fstat(50); print('GOT a descriptor')",
    ),
}


def test_every_layer_has_its_program():
    assert set(WITHOUT_A_LAYER) == LAYERS


@AS_ROOT
@pytest.mark.parametrize("layer", WITHOUT_A_LAYER)
def test_without_a_layer_a_program_gets_through(layer, host):
    kind, name = WITHOUT_A_LAYER[layer]
    with Local(layers=LAYERS - {layer}).open(LIMITS) as session:
        assert any("got through" in line for line in attack(session, host, kind, name))


@pytest.mark.slow
@pytest.mark.parametrize("limit", WITHOUT_A_LIMIT)
def test_without_a_limit_a_program_gets_through(limit, host):
    loose, (kind, name) = WITHOUT_A_LIMIT[limit]
    with Local().open(dataclasses.replace(LIMITS, **loose)) as session:
        assert attack(session, host, kind, name)


@pytest.mark.parametrize("line", WITHOUT_A_LINE)
def test_without_a_line_of_the_guest_code_gets_through(line, tmp_path, monkeypatch):
    file, old, new, code = WITHOUT_A_LINE[line]

    def outcome():
        with Local().open(LIMITS) as session:
            runs = [session.run(code), session.run("import time; time.sleep(0.5)")]
        return runs[0].restarted or any("GOT" in run.output for run in runs)

    assert not outcome()
    guest = shutil.copytree(local._HERE, tmp_path / "guest")
    text = (guest / file).read_text()
    assert old in text
    (guest / file).write_text(text.replace(old, new))
    monkeypatch.setattr(local, "_HERE", str(guest))
    assert outcome()


@AS_ROOT
@pytest.mark.parametrize("name", programs.EXCHANGES)
def test_files_are_exchanged_inside_even_where_the_files_layer_is_missing(name, host):
    with Local(layers=LAYERS - {"files"}).open(LIMITS) as session:
        assert attack(session, host, "file exchange", name) == []


@AS_ROOT
def test_without_care_for_links_files_of_the_host_are_read(tmp_path, monkeypatch, host):
    guest = shutil.copytree(local._HERE, tmp_path / "guest")
    text = (guest / "files.py").read_text()
    (guest / "files.py").write_text(text.replace("os.O_NOFOLLOW |", "").replace("| os.O_NOFOLLOW", ""))
    monkeypatch.setattr(local, "_HERE", str(guest))
    with Local(layers=LAYERS - {"files"}).open(LIMITS) as session:
        assert any("got through" in line for line in attack(session, host, "file exchange", "read through a link"))
