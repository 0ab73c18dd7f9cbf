"""Hostile programs and ordinary use in containers of a real daemon; `make test-docker` runs these."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
from attack import ALL, LIMITS, ROOM, Host, attack, eight_at_once
from daemon import DAEMON_GROUP, daemon, image

from agentrl.errors import UserError
from agentrl.tools.sandboxes import Limits, SandboxError, seccomp

pytestmark = [pytest.mark.docker, pytest.mark.slow]
IMAGE = "agentrl-test:latest"


@pytest.fixture(scope="module")
def client():
    """A daemon with the image. Without one the tests are skipped, or fail where AGENTRL_REQUIRE names docker."""
    with contextlib.ExitStack() as stack:
        try:
            address = stack.enter_context(daemon())
        except (ImportError, RuntimeError) as error:
            if "docker" in os.environ.get("AGENTRL_REQUIRE", "").split(","):
                raise
            pytest.skip(str(error))
        import docker

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


@pytest.fixture(params=[0, DAEMON_GROUP], ids=["root", "an ordinary user"])
def asking(request, client):
    """Who asks the daemon. The one that tests start answers that ordinary user, another one may not."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setegid(request.param)
    os.seteuid(request.param)
    try:
        if not os.access(os.environ["DOCKER_HOST"].removeprefix("unix://"), os.W_OK, effective_ids=True):
            pytest.skip("this daemon does not answer an ordinary user")
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


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


@pytest.mark.timeout(1000)
def test_nobody_is_harmed_by_eight_at_once_and_a_neighbour_works_on(sandbox, asking):
    """A container a kind, because one takes a second to come and go; first the kinds that wait for the clock."""
    kinds = [[(k, n) for k, n in ALL if k == kind] for kind in reversed(dict(ALL))]
    with Host() as host:
        assert eight_at_once(sandbox, host, kinds) == []


# What a container has of its own, what it would have without, and a program that then gets what it wants. The rest of
# what confines it (capabilities, the user, memory, processes) the guest holds to as well, which test_battery.py shows.
WITHOUT_A_LAYER = {
    "network": ({"network_mode": "host"}, ("network", "the host's connections")),
    "pids": ({"pid_mode": "host"}, ("proc", "a process of the host")),
    "ipc": ({"ipc_mode": "host"}, ("proc", "segments of the host")),
    "read-only root": ({"read_only": False}, ("disk", "other folders")),
    "size of /tmp": ({"tmpfs": {"/tmp": "mode=1777"}}, ("disk", "one file")),
    "size of /dev/shm": ({"shm_size": 1 << 30}, ("disk", "shared memory folder")),
    "seccomp": ({}, ("ptrace", "a child")),
}


@pytest.mark.parametrize("layer", WITHOUT_A_LAYER)
def test_without_a_layer_a_program_gets_through(layer, sandbox, client, monkeypatch):
    without, (kind, name) = WITHOUT_A_LAYER[layer]
    api = type(client.api)
    whole = api.create_host_config
    monkeypatch.setattr(api, "create_host_config", lambda self, **options: whole(self, **options | without))
    if layer == "seccomp":
        monkeypatch.setattr(seccomp, "program", lambda: b"")
    with Host() as host, sandbox.open(ROOM) as session:
        assert any("got through" in line for line in attack(session, host, kind, name, ROOM))


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


def test_a_daemon_that_no_longer_answers_is_a_failure_and_its_containers_end(sandbox, client, monkeypatch):
    from docker.transport import UnixHTTPAdapter

    session = sandbox.open(LIMITS)
    nowhere = UnixHTTPAdapter("http+unix:///nowhere/docker.sock")
    with monkeypatch.context() as patch:
        patch.setitem(session._guest._api.adapters, "http+docker://", nowhere)
        session.close()
        with pytest.raises(SandboxError, match="docker: "):
            sandbox.open(LIMITS)
    wait_until_gone(client)


def test_a_missing_image_or_daemon_is_named_with_its_cure(client, monkeypatch):
    from agentrl.tools.sandboxes import docker

    with pytest.raises(UserError, match="docker pull no-such-image"):
        docker.Docker("no-such-image").open(Limits())
    monkeypatch.setattr(docker, "_client", docker._client.__wrapped__)  # asked anew
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(UserError, match="finds no daemon"):
        docker.Docker().open(Limits())
