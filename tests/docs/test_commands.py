"""Every ``agentrl`` command that a document shows is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from agentrl.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"^```(?:bash|console)[^\n]*\n(.*?)^```|^(    [^\n]*)$", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"^ *(?:\$ )?((?:agentrl|torchrun [^\n]*-m agentrl) (?:[^\n\\]|\\\n)*)", re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of each command, from ``agentrl`` on, up to what a shell takes for itself."""
    found = []
    code = "\n".join(fenced or indented for fenced, indented in CODE.findall(text))
    for match in LINE.finditer(code):
        words = shlex.split(match[1].replace("\\\n", " "), comments=True)
        words = words[words.index("agentrl") + 1 :]
        ends = [i for i, word in enumerate(words) if word in ("&&", "|", ">", "2>", ";")]
        found.append(words[: min(ends, default=len(words))])
    return found


def parse(words: list[str]) -> None:
    """As the program would, without doing it. Raises click's errors for an unknown command, option or kind of value."""
    command = typer.main.get_command(app)
    context = command.make_context("agentrl", list(words), resilient_parsing=False)
    while hasattr(command, "resolve_command"):  # a group
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_of_the_page_are_taken(page: Path) -> None:
    wrong = []
    for words in commands(page.read_text()):
        try:
            parse(words)
        except Exception as error:
            wrong.append(f"agentrl {shlex.join(words)}: {type(error).__name__} {error}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_command_would_be_seen() -> None:
    [told] = commands("    agentrl train household-tiny --sed 1 | tee log\n")
    assert told == ["train", "household-tiny", "--sed", "1"]
    for words in (told, ["trainn"], ["eval", "-k", "many"], ["credit", "explainn", "runs/a"]):
        with pytest.raises(Exception, match=r"(?i)no such|unknown|valid integer"):
            parse(words)
