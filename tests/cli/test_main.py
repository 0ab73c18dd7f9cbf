from __future__ import annotations

import errno
import sys
from types import ModuleType
from typing import Any

import pytest
import typer

from agentrl.cli import main as cli
from agentrl.errors import UserError


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        cli.main(list(arguments))
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module whose ``act`` is the command ``act`` and whose ``app`` is the group ``many``."""
    module = ModuleType("agentrl_test_command")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(cli.COMMANDS, "act", (f"{module.__name__}:act", "Do it."))
    monkeypatch.setitem(cli.COMMANDS, "many", (f"{module.__name__}:app", "Do one of many."))
    module.app = typer.Typer()  # type: ignore[attr-defined]
    return module


def raising(error: BaseException) -> Any:
    def act() -> None:
        raise error

    return act


def test_help_lists_every_command_with_its_line_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    for name, (_, line) in cli.COMMANDS.items():
        assert name in out
        assert line in out
    assert "agentrl train household-tiny" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, "agentrl 0.1.0\n", "")


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "trian")
    assert code == 2
    assert err.startswith("error: unknown command 'trian'; did you mean 'train'?")
    assert err.count("\n") == 1


def test_a_function_is_a_command(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def act(name: str, times: int = 1) -> None:
        typer.echo(name * times)

    command.act = act  # type: ignore[attr-defined]
    assert run(capsys, "act", "ab", "--times", "2") == (0, "abab\n", "")
    assert "--times" in run(capsys, "act", "--help")[1]


def test_an_app_is_a_group_even_with_one_command(command: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    @command.app.command()
    def one() -> None:
        typer.echo("one")

    assert run(capsys, "many", "one") == (0, "one\n", "")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("no such thing"), 2, "error: no such thing\n"),
        (OSError(errno.ENOSPC, "", "/full/disk"), 2, "error: No space left on device: /full/disk\n"),
        (OSError(errno.EACCES, "", "/locked"), 2, "error: Permission denied: /locked\n"),
        (OSError(errno.EROFS, "", "/cd"), 2, "error: Read-only file system: /cd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_are_one_line(
    command: ModuleType, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    command.act = raising(error)  # type: ignore[attr-defined]
    assert run(capsys, "act") == (code, "", line)


def test_a_bug_keeps_its_traceback(command: ModuleType) -> None:
    command.act = raising(RuntimeError("bug"))  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="bug"):
        cli.main(["act"])


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(name: str) -> None:
        raise ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")

    monkeypatch.setattr(cli, "import_module", refuse)
    code, _, err = run(capsys, "train")
    assert code == 2
    assert "pip install 'agentrl-toolkit[train]'" in err
