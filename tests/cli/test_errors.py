"""Bad input: one line that names the culprit and the nearest valid name, exit code 2, no traceback."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from agentrl.cli.main import main

BROKEN = '''
import random
import agentrl as ar

@ar.register("Unready-v0", splits={"train": range(3), "unseen": range(3, 5)}, max_turns=2)
class Unready(ar.ToolEnv):
    """Breaks."""
    def start(self, task: int, rng: random.Random) -> str:
        raise KeyError("no such level")
    def score(self, answer: str) -> float:
        return 0.0
'''


class Result(NamedTuple):
    returncode: int
    stderr: str


Command = Callable[..., Result]


@pytest.fixture
def agentrl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Command:
    """The command line, in this process (starting Python for each would take most of the time)."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Result:
        code: object = 0
        try:
            main(list(args))
        except SystemExit as end:
            code = end.code or 0
        return Result(int(str(code)), capsys.readouterr().err)

    return run


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["eval", "household-unsen"], "did you mean 'household-unseen'"),
        (["eval", "agentrl/Houshold-v0"], "did you mean 'agentrl/Household-v0'"),
        (["eval", "agentrl/Household-v0:unsen"], "did you mean 'unseen'"),
        (["eval", "agentrl/Household-v0:train", "--policy", "expert"], "--allow-train"),
        (["eval", "household-unseen", "--policy", "smal"], "did you mean 'small'"),
        (["eval", "household-unseen", "--set", "size=tiny"], "has its own arguments"),
        (["eval", "agentrl/Household-v0", "--set", "sise=tiny", "--policy", "idle"], "did you mean 'size'"),
        (["eval", "agentrl/KeyDoor-v0", "--set", "size=tiny", "--policy", "idle"], "argument of agentrl/KeyDoor-v0"),
        (["train", "agentrl/KeyDoor-v0", "--set", "env=agentrl/Calc-v0"], "--set env=agentrl/Calc-v0"),
        (["eval", "nofile.py:X-v0"], "nofile.py"),
        (["train", "houshold"], "did you mean 'household'"),
        (["train", "household", "--set", "optim.lrr=1"], "did you mean 'lr'"),
        (["train", "household", "--set", "optim.lr=fast"], "optim.lr"),
        (["train", "household", "--set", "iterations"], "key=value"),
        (["train", "household", "--set", "credit=[gigp]"], "did you mean 'gigpo'"),
        (["train", "household", "--set", "credit=[{gigpo-step: {gama: 1}}]"], "did you mean 'gamma'"),
        (["train", "household", "--set", "kwargs={size: huge}"], "huge"),
        (["train", "household", "--policy.engine", "vlm"], "did you mean 'vllm'"),
        (["train", "--resume", "nowhere"], "nowhere holds no run"),
        (["train"], "recipe or an environment"),
        (["sft", "nowhere", "--from-scratch", "1m"], "nowhere"),
        (["collect", "agentrl/Household-v0", "--policy", "random", "--noise", "0.5"], "--noise"),
    ],
)
def test_one_line_and_exit_code_2(args: list[str], expected: str, agentrl: Command) -> None:
    found = agentrl(*args)
    assert found.returncode == 2, found.stderr
    last = found.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert expected in last
    assert "Traceback" not in found.stderr


def test_an_environment_that_raises_in_reset(tmp_path: Path, agentrl: Command) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    for command in (["eval", "broken.py:Unready-v0", "--policy", "idle"], ["train", "broken.py:Unready-v0"]):
        found = agentrl(*command)
        assert found.returncode == 2, found.stderr
        assert "Unready-v0 fails in reset" in found.stderr
        assert "no such level" in found.stderr
        assert not (tmp_path / "runs").exists()  # nothing was begun


def test_a_folder_that_cannot_be_written(tmp_path: Path, agentrl: Command) -> None:
    (tmp_path / "file").write_text("in the way")
    found = agentrl("collect", "agentrl/Household-v0", "-n", "2", "-o", str(tmp_path / "file" / "demos"))
    assert found.returncode == 2
    assert "file" in found.stderr
    assert "Traceback" not in found.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk(tmp_path: Path, agentrl: Command) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine refuses mounts")
    try:
        found = agentrl("collect", "agentrl/Household-v0", "-n", "2000", "-o", str(disk / "demos"))
        assert found.returncode == 2, found.stderr
        assert "No space left" in found.stderr
        assert "Traceback" not in found.stderr
        assert not list((disk / "demos").glob("*.partial"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
