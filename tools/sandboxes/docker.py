"""The ``docker`` sandbox: a container a session, of any image that has ``python3``; the daemon may be far away.

The container has no network, a read-only root, no capabilities, a user id of its own, and limits; the guest inside is
the local sandbox's, and brings its seccomp filter beside Docker's own. It ends with the connection to its stdin, so
with the program that opened it. ``AGENTRL_DOCKER_IMAGE`` names the image, ``DOCKER_HOST`` the daemon.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import socket
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound

from agentrl.errors import UserError
from agentrl.once import once_a_process
from agentrl.tools.sandboxes import seccomp
from agentrl.tools.sandboxes.base import Limits, SandboxError
from agentrl.tools.sandboxes.local import ENVIRONMENT, own_user_id
from agentrl.tools.sandboxes.session import GuestSession

IMAGE = "python:3.12-slim"
_LABEL = "agentrl.owner"
_FAILURES = (DockerException, OSError)  # OSError: a daemon that no longer answers
_OVERHEAD = 64 << 20  # bytes of memory for the supervisor and what the kernel counts beside
_BOOT = """
import json, sys, types
for name, text in json.loads(sys.argv.pop()).items():
    module = sys.modules[name] = types.ModuleType(name)
    module.__file__ = name + ".py"
    exec(compile(text, module.__file__, "exec"), vars(module))
sys.modules["supervisor"].main()
"""


class Docker:
    """``Docker().open(Limits())``. Raises UserError where no daemon answers or the image is missing."""

    def __init__(self, image: str | None = None) -> None:
        self.image = image or os.environ.get("AGENTRL_DOCKER_IMAGE", IMAGE)

    def open(self, limits: Limits) -> GuestSession:
        client = _client()
        return GuestSession(lambda: _Container(client, self.image, limits), limits)


class _Container:
    """A started guest. A thread takes the container's stdout out of the stream that Docker mixes it into."""

    def __init__(self, client: Any, image: str, limits: Limits) -> None:
        uid = own_user_id()
        refused = base64.b64encode(seccomp.program()).decode()
        config = {**asdict(limits), "uid": None, "tied": False, "seccomp": refused}
        api = client.api
        try:
            host = api.create_host_config(
                network_mode="none",
                read_only=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                ipc_mode="private",
                shm_size=limits.disk,
                tmpfs={"/tmp": f"size={limits.disk},mode=1777"},
                mem_limit=limits.memory + 2 * limits.disk + _OVERHEAD,  # its files are memory
                memswap_limit=limits.memory + 2 * limits.disk + _OVERHEAD,
                pids_limit=limits.processes + 4,
                auto_remove=True,
                log_config={"type": "none"},
            )
            made = api.create_container(
                image,
                ["python3", "-s", "-S", "-c", _BOOT, json.dumps(config), json.dumps(_sources())],
                user=f"{uid}:{uid}",
                working_dir="/tmp",
                environment=ENVIRONMENT,
                stdin_open=True,
                host_config=host,
                labels={_LABEL: _owner(os.getpid())},
            )
            attached = api.attach_socket(made["Id"], params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        except ImageNotFound:
            raise UserError(f"the docker sandbox has no image {image!r}: docker pull {image}") from None
        except _FAILURES as error:
            raise SandboxError(f"docker: {error}") from error
        self._api, self._id = api, made["Id"]
        self._stderr = b""
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._socket.settimeout(None)
        self.stdin = self._socket.fileno()
        self.stdout, into = os.pipe()
        threading.Thread(target=self._pump, args=(into,), daemon=True).start()
        try:
            api.start(self._id)
        except _FAILURES as error:
            self.kill()
            raise SandboxError(f"docker: {error}") from error

    def kill(self) -> None:
        with contextlib.suppress(*_FAILURES):
            self._api.remove_container(self._id, force=True)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        os.close(self.stdout)

    def complaint(self) -> str:
        return " ".join(self._stderr.decode(errors="replace").split())

    def _pump(self, into: int) -> None:
        """Frames of eight bytes (the second to last four are the length) and a payload of one of the streams."""
        stream = self._socket.makefile("rb")
        try:
            while len(head := stream.read(8)) == 8:
                data = stream.read(int.from_bytes(head[4:], "big"))
                if head[0] == 1:
                    while data:
                        data = data[os.write(into, data) :]
                else:
                    self._stderr = (self._stderr + data)[-500:]
        except (OSError, ValueError):  # closed on this side
            pass
        finally:
            os.close(into)


@once_a_process
def _client() -> Any:
    try:
        client = docker.from_env(timeout=60)
        client.ping()
    except DockerException as error:
        cure = "start it, or set DOCKER_HOST"
        raise UserError(f"the docker sandbox finds no daemon ({str(error).splitlines()[0][:200]}); {cure}") from None
    _reap(client)
    return client


def _owner(pid: int) -> str:
    """A process of this machine: its number, and when it began, because numbers come back."""
    try:
        began = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        began = ""
    return f"{socket.gethostname()} {pid} {began}"


def _reap(client: Any) -> None:
    """Remove containers whose owner on this machine ended before it could."""
    for container in client.containers.list(all=True, filters={"label": _LABEL}, ignore_removed=True):
        host, pid, _ = container.labels[_LABEL].rsplit(" ", 2)
        if host == socket.gethostname() and container.labels[_LABEL] != _owner(int(pid)):
            with contextlib.suppress(*_FAILURES):
                container.remove(force=True)


@functools.cache
def _sources() -> dict[str, str]:
    folder = Path(__file__).parent / "guest"
    return {name: (folder / f"{name}.py").read_text() for name in ("driver", "files", "supervisor")}
