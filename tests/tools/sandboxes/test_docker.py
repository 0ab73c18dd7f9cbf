"""Hostile programs and ordinary use in containers of a real daemon; `make test-docker` runs these."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from attack import ALL, LIMITS, Host, attack
from daemon import daemon, image

from agentrl.errors import UserError
from agentrl.tools.sandboxes import Limits, SandboxError

pytestmark = [pytest.mark.docker, pytest.mark.slow]
IMAGE = "agentrl-test:latest"
ROOM = dataclasses.replace(LIMITS, wall=8.0, cpu=8.0)  # containers of one daemon slow each other down


@pytest.fixture(scope="module")
def client():
    """A daemon with the image. Without one the tests are skipped, or fail where AGENTRL_REQUIRE names docker."""
    docker = pytest.importorskip("docker")
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(daemon())
        except RuntimeError as error:
            if "docker" in os.environ.get("AGENTRL_REQUIRE", "").split(","):
                raise
            pytest.skip(str(error))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("DOCKER_HOST", address)
        patch.setenv("AGENTRL_DOCKER_IMAGE", IMAGE)
        made = docker.from_env()
        made.api.import_image_from_data(image(), repository=IMAGE.split(":")[0], tag="latest")
        yield made


@pytest.fixture
def sandbox(client):
    from agentrl.tools.sandboxes.docker import Docker

    return Docker()


def names(client):
    return [c.id for c in client.containers.list(all=True, filters={"label": "agentrl.owner"}, ignore_removed=True)]


def wait_until_gone(client):
    deadline = time.monotonic() + 60
    while names(client):
        assert time.monotonic() < deadline, "containers were left behind"
        time.sleep(0.1)


def test_a_session_in_a_container(sandbox, client):
    with sandbox.open(LIMITS) as session:
        assert session.run("x = 20").error is None
        assert session.run("print('so'); 2 * x + 2").output == "so\n42\n"
        assert session.run("1 / 0").error == "ZeroDivisionError: division by zero"
        session.write("a/b.bin", bytes(range(256)) * 500)
        assert session.read("a/b.bin") == bytes(range(256)) * 500
        with pytest.raises(SandboxError):
            session.read("/etc/passwd")
        assert session.run("import os; os.kill(os.getpid(), 9)").restarted
        assert session.run("6 * 7").output == "42\n"
    wait_until_gone(client)


CLEAR = """
import os, shutil
for entry in os.scandir("."):
    shutil.rmtree(entry) if entry.is_dir(follow_symlinks=False) else os.unlink(entry)
os._exit(0)
"""


@pytest.mark.timeout(1000)
def test_nobody_is_harmed_by_four_at_once_and_a_neighbour_works_on(sandbox):
    """A container a kind, an interpreter and an empty folder a program: a container takes a second to come and go."""

    def one(kind):
        wrong = []
        with sandbox.open(ROOM) as session:
            for name in [n for k, n in ALL if k == kind]:
                wrong += [f"{kind}, {name}: {line}" for line in attack(session, host, kind, name, ROOM)]
                session.run(CLEAR)
        return wrong

    patient = dataclasses.replace(ROOM, wall=120.0, cpu=120.0)
    with Host() as host, sandbox.open(patient) as neighbour, ThreadPoolExecutor(4) as pool:
        neighbour.run("turns = 0; held = bytearray(100 << 20)")
        attacks, turn = [pool.submit(one, kind) for kind in dict(ALL)], 0
        while not all(attack.done() for attack in attacks):
            turn += 1
            run = neighbour.run("turns += 1; held[turns] = 1; turns + held.count(1)")
            assert (run.output, run.stopped, run.restarted) == (f"{2 * turn}\n", None, False)
            time.sleep(0.1)
        assert [line for attack in attacks for line in attack.result()] == []


def test_containers_end_with_the_program_that_started_them(client):
    code = (
        "from agentrl.tools.sandboxes import Limits, sandbox_named\n"
        "s = [sandbox_named('docker').open(Limits()) for _ in range(2)]\nprint('ready', flush=True)\ninput()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"ready\n"
        assert len(names(client)) == 2
        program.send_signal(signal.SIGKILL)
    wait_until_gone(client)


def test_what_a_dead_program_left_is_removed_by_the_next(client):
    from agentrl.tools.sandboxes import docker

    left = client.api.create_container(IMAGE, ["true"], labels={"agentrl.owner": docker._owner(os.getpid()) + "0"})
    mine = client.api.create_container(IMAGE, ["true"], labels={"agentrl.owner": docker._owner(os.getpid())})
    docker._reap(client)
    assert names(client) == [mine["Id"]]
    client.api.remove_container(mine["Id"])
    assert left["Id"] not in names(client)


def test_a_missing_image_or_daemon_is_named_with_its_cure(client, monkeypatch):
    from agentrl.tools.sandboxes import docker

    with pytest.raises(UserError, match="docker pull no-such-image"):
        docker.Docker("no-such-image").open(Limits())
    monkeypatch.setattr(docker, "_client", docker._client.__wrapped__)  # asked anew
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UserError, match="finds no daemon"):
        docker.Docker().open(Limits())
