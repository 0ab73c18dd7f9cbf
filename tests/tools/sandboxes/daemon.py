"""A Docker daemon to test against: one that answers, else Debian's with roots of its own; and a small image."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

DAEMON_GROUP = 65534  # its members may ask the daemon that is started here
FOLDERS = ("proc", "dev", "sys", "tmp", "etc", "var", "var/tmp", "usr/bin")
PROGRAMS = ("sh", "sleep", "seq", "ls", "touch")


@contextlib.contextmanager
def daemon() -> Iterator[str]:
    """The address of a daemon. Raises RuntimeError where there is none and none can be started."""
    import docker

    with contextlib.suppress(docker.errors.DockerException):
        docker.from_env(timeout=5).ping()
        yield os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        return
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None or os.geteuid() != 0:
        raise RuntimeError("no Docker daemon answers, and there is no dockerd that could be started as root")
    folder = Path(tempfile.mkdtemp(prefix="dockerd-"))
    folder.chmod(0o755)
    address = f"unix://{folder}/docker.sock"
    options = {"data-root": folder / "data", "exec-root": folder / "exec", "host": address, "pidfile": folder / "pid"}
    options |= {"storage-driver": "vfs", "iptables": "false", "ip6tables": "false", "bridge": "none"}
    options |= {"group": DAEMON_GROUP}
    with (folder / "log").open("wb") as log:
        command = [program, *(f"--{name}={value}" for name, value in options.items())]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        client = docker.DockerClient(address, version="1.40")
        while True:
            with contextlib.suppress(docker.errors.DockerException, OSError):
                client.ping()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd does not start: {(folder / 'log').read_text()[-500:]}")
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def image() -> bytes:
    """A root file system as a tar: the system's Python and a few programs, with the libraries they name."""
    python = Path("/usr/bin/python3").resolve()
    library = Path("/usr/lib") / python.name
    programs = [python, *(Path(shutil.which(name) or name).resolve() for name in PROGRAMS)]
    binaries = [*programs, *library.glob("lib-dynload/*.so")]
    found = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True).stdout
    libraries = {word for line in found.splitlines() for word in line.split() if word.startswith("/lib")}
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        inside = {str(folder)[1:] for path in libraries for folder in Path(f"/usr{path}").parents} - {""}
        for folder in (*FOLDERS, *sorted(inside)):  # else made for root only
            made = tarfile.TarInfo(folder)
            made.type, made.mode = tarfile.DIRTYPE, 0o1777 if folder.endswith("tmp") else 0o755
            tar.addfile(made)
        for link in ("bin", "lib", "lib64"):
            made = tarfile.TarInfo(link)
            made.type, made.linkname = tarfile.SYMTYPE, f"usr/{link}"
            tar.addfile(made)
        for path in sorted(libraries):
            _add(tar, Path(path).resolve(), f"usr{path}")
        for name, path in zip(("python3", *PROGRAMS), programs, strict=True):
            _add(tar, path, f"usr/bin/{name}")
        skipped = {"test", "tests", "__pycache__", "dist-packages", "idlelib", "lib2to3", "ensurepip"}
        tar.add(library, f"usr/lib/{python.name}", filter=lambda i: None if Path(i.name).name in skipped else i)
    return data.getvalue()


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    info = tar.gettarinfo(str(path), name)
    with path.open("rb") as file:
        tar.addfile(info, file)
