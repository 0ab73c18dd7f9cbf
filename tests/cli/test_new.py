"""What ``init`` and ``new`` write is green, tidy, and says the right name of the distribution."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentrl.cli.main import main

ROOT = Path(__file__).parents[2]


def agentrl(*args: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*args])
    assert not ended.value.code


def run(folder: Path, *command: str) -> str:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=folder, env=environ, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_project_is_green(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    agentrl("init", "my-project")
    project = tmp_path / "my-project"
    monkeypatch.chdir(project)
    agentrl("new", "loss", "soft-step")
    assert "8 passed" in run(project, "pytest", "-q", "-p", "no:cacheprovider")
    run(project, "ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,UP,B", ".")
    run(project, "ruff", "format", "--isolated", "--line-length", "120", "--check", ".")
    text = "".join(file.read_text() for file in project.iterdir() if file.is_file())
    assert '"agentrl-toolkit[train]"' in (project / "pyproject.toml").read_text()
    assert "pip install agentrl" not in text
    assert not any(mark in text for mark in ("CLASS", "MODULE", "NAME"))
    assert "environment" in run(project, "agentrl", "envs", "list")
    assert "my_project.py" in run(project, "agentrl", "envs", "show", "MyProject-v0")


def test_nothing_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    agentrl("new", "tool", "metres")
    for refused in (["new", "tool", "metres"], ["init", "."], ["init", "1x"], ["new", "estimator", "class"]):
        with pytest.raises(SystemExit) as ended:
            main(refused)
        assert ended.value.code == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["metres.py", "test_metres.py"]


def test_the_shell_completes_commands() -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "_AGENTRL_COMPLETE": "complete_bash"}
    for words, expected in (("agentrl tra", {"train", "traj"}), ("agentrl cred", {"credit"})):
        done = subprocess.run(
            [sys.executable, "-c", "from agentrl.cli.main import main; main()"],
            capture_output=True,
            text=True,
            env={**environ, "COMP_WORDS": words, "COMP_CWORD": "1"},
            check=False,
        )
        assert set(done.stdout.split()) == expected, done.stderr
