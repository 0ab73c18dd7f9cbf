import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agentrl import store
from agentrl.cli.main import app
from agentrl.envs import plugins, registry
from agentrl.envs.miniwob.tasks import TASKS
from agentrl.errors import UserError
from agentrl.types import ToolCall

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for table, kind in ((registry, "_specs"), (plugins, "_loaded"), (plugins, "_discovered")):
        monkeypatch.setattr(table, kind, getattr(table, kind).copy())  # what a test registers is gone after it
    shutil.copy(ROOT / "examples" / "guess.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path


def agentrl(*args: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, args, input=stdin)


def refused(*args: str) -> str:
    error = agentrl(*args).exception
    assert isinstance(error, UserError), error
    return str(error)


def test_list() -> None:
    assert "agentrl/Household-v0" in agentrl("envs", "list").stdout
    shown = agentrl("envs", "list", "--plugin", "guess.py").stdout
    assert "Guess-v0" in shown
    assert "train 1000, unseen 200" in shown
    rows = {row["id"]: row for row in json.loads(agentrl("envs", "list", "--json").stdout)}
    assert rows["Guess-v0"]["tasks"] == {"train": 1000, "unseen": 200}
    assert rows["agentrl/Household-v0"]["source"] == "bundled"


def test_list_folds_a_family_into_a_line() -> None:
    shown = agentrl("envs", "list").stdout
    assert "agentrl/MiniWoB-<page>-v0" in shown
    assert f"({len(TASKS)})" in shown
    assert "click-tab-2-v0" not in shown
    assert "agentrl/MiniWoB-click-tab-2-v0" in agentrl("envs", "list", "--all").stdout
    assert "agentrl/MiniWoB-click-tab-2-v0" in agentrl("envs", "list", "--json").stdout
    for page in "ab":
        registry.register(f"Alone-{page}-v0", entry_point="x:Env", splits={"train": [1]}, max_turns=3)
    assert "Alone-a-v0" in agentrl("envs", "list").stdout


def test_list_keeps_what_cannot_be_imported() -> None:
    registry.register("Web-v0", entry_point="no_web:Env", splits="no_web:splits", max_turns=3, extra="web")
    rows = {row["id"]: row for row in json.loads(agentrl("envs", "list", "--json").stdout)}
    assert "agentrl-toolkit[web]" in rows["Web-v0"]["tasks"]


def test_show() -> None:
    shown = agentrl("envs", "show", "guess.py:Guess-v0").stdout
    assert "Find a hidden number between 1 and 64." in shown
    assert '"maximum": 64' in shown
    data = json.loads(agentrl("envs", "show", "guess.py:Guess-v0:unseen", "--json").stdout)
    assert data["task"] == 1000
    assert data["snapshots"] == "exact"
    assert data["expert"] is True
    assert [t["function"]["name"] for t in data["tools"]] == ["compare", "submit"]


def test_check() -> None:
    done = agentrl("envs", "check", "guess.py:Guess-v0", "--episodes", "5")
    assert done.exit_code == 0
    assert "keeps the contract" in done.stdout
    report = json.loads(agentrl("envs", "check", "guess.py:Guess-v0", "--episodes", "5", "--json").stdout)
    assert report["ok"] is True


def test_check_of_a_broken_one(folder: Path) -> None:
    text = (folder / "guess.py").read_text().replace("float(number == self.secret)", "1.0")
    (folder / "broken.py").write_text(text)
    done = agentrl("envs", "check", "broken.py:Guess-v0", "--episodes", "5")
    assert done.exit_code == 1
    assert "random_play" in done.stdout


def test_errors_are_one_line() -> None:
    assert "did you mean 'Guess-v0'" in refused("envs", "check", "guess.py:Gess-v0")
    assert "no such file" in refused("envs", "show", "gone.py:Guess-v0")
    assert "name an environment in it: guess.py:Guess-v0" in refused("play", "guess.py")


def test_add_makes_and_keeps_a_project(folder: Path) -> None:
    project = folder / "pyproject.toml"
    done = agentrl("envs", "add", "guess.py")
    assert done.exit_code == 0, done.output
    assert project.read_text() == '[tool.agentrl]\nplugins = ["guess.py"]\n'
    assert "already has guess.py" in agentrl("envs", "add", "guess.py").stdout
    assert refused("envs", "add", "no_such_package").startswith("plugin 'no_such_package' is neither")
    (folder / "empty.py").write_text("")
    assert refused("envs", "add", "empty.py") == "empty.py registers no environment"
    assert tomllib.loads(project.read_text())["tool"]["agentrl"]["plugins"] == ["guess.py"]


@pytest.mark.parametrize(
    "text",
    [
        '# mine\n[project]\nname = "x"  # kept\n',
        '[tool.agentrl]\n\n[tool.ruff]\nline-length = 100 # kept\n',
        '[tool.agentrl]\nplugins = []\n',
        '[tool.agentrl]  # here\nother = 1\nplugins = [\n  "a.py",\n  "b.py",\n]\nlast = 2\n\n[x]\nplugins = [1]\n',
        '[x]\nplugins = ["no"]\n\n[tool.agentrl]\nplugins = ["a.py"]',
        '[tool]\nagentrl = {plugins = ["a.py"]}\n',
    ],
)  # fmt: skip
def test_declaring_keeps_the_rest(folder: Path, text: str) -> None:
    from agentrl.cli.envs import declare

    project = folder / "pyproject.toml"
    project.write_text(text)
    before: dict[str, Any] = tomllib.loads(text)
    if "{" in text:  # a layout that is left to its owner
        with pytest.raises(UserError, match="by hand"):
            declare(project, "c.py")
        assert project.read_text() == text
        return
    assert declare(project, "c.py")
    before.setdefault("tool", {}).setdefault("agentrl", {}).setdefault("plugins", []).append("c.py")
    assert tomllib.loads(project.read_text()) == before
    for comment in ("# mine", "# kept", "# here"):
        assert (comment in project.read_text()) == (comment in text)


def test_play_a_game() -> None:
    secret = random.Random(3).randint(1, 64)
    lines = "compare 64\n?\ncompare guess=16\nhello\ncompare guess=x\n"
    lines += json.dumps({"name": "submit", "arguments": {"number": secret}}) + "\n"
    shown = agentrl("play", "guess.py:Guess-v0", "--task", "3", stdin=lines).stdout
    assert "Find a hidden number between 1 and 64." in shown
    assert "compare guess=1..64  Say whether the hidden number" in shown
    assert "[2/8] >" in shown
    assert "lower" in shown
    assert "error: Plain text does nothing here" in shown
    assert "argument 'guess'" in shown
    assert "success: reward 1 in 5 turns, tool cost 0.02" in shown


def test_what_a_person_played_is_stored_and_can_be_imitated() -> None:
    lines = f"compare 64\nnonsense\nsubmit {random.Random(3).randint(1, 64)}\n"
    for task in (3, 3):
        agentrl("play", "guess.py:Guess-v0", "--task", str(task), "-o", "mine", stdin=lines)
    agentrl("play", "guess.py:Guess-v0", "-o", "mine", stdin="compare 3\n")  # left before the end
    played = [t for group in store.read("mine") for t in group]
    assert [(t.success, t.reward, len(t.turns), t.trusted) for t in played] == [(True, 1.0, 3, True)] * 2
    assert [turn.valid for turn in played[0].turns] == [True, False, True]
    assert played[0].turns[0].action == ToolCall("compare", guess=64)
    assert played[0].turns[0].state_key
    assert agentrl("sft", "mine", "--from-scratch", "1m", "--set", "epochs=1", "-o", "policy").exit_code == 0


def test_play_ends_at_the_turn_limit_and_at_the_end_of_input() -> None:
    assert "turn limit reached: reward 0 in 8 turns" in agentrl("play", "guess.py:Guess-v0", stdin="x\n" * 9).stdout
    done = agentrl("play", "guess.py:Guess-v0", "--seed", "1", stdin="")
    assert done.stdout.endswith("left\n")
    assert done.exit_code == 0


def test_play_by_text() -> None:
    shown = agentrl("play", "agentrl/Household-v0", "--seed", "1", stdin="look\n?\nno such command\n").stdout
    assert "  go to" in shown  # what ? lists


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("compare guess=3", ToolCall("compare", guess=3)),
        ("compare 3", ToolCall("compare", guess=3)),
        ('compare guess="a b"', ToolCall("compare", guess="a b")),
        ("compare 3 4", ToolCall("compare", guess=3, argument_2=4)),
        ("compare", ToolCall("compare")),
        ('{"name": "submit", "arguments": {"number": 1}}', ToolCall("submit", number=1)),
        ('[{"name": "compare"}, {"name": "submit"}]', [ToolCall("compare"), ToolCall("submit")]),
        ("I think 3", "I think 3"),
        ("", ""),
    ],
)
def test_lines(line: str, action: Any) -> None:
    from agentrl.cli.play import parse_line

    assert parse_line(line, registry.make("guess.py:Guess-v0")) == action


@pytest.mark.parametrize("line", ["{nope", "[1]", '{"arguments": {}}', 'compare "3', "[]x"])
def test_lines_that_mean_nothing(line: str) -> None:
    from agentrl.cli.play import parse_line

    with pytest.raises(UserError):
        parse_line(line, registry.make("guess.py:Guess-v0"))


def test_new(folder: Path) -> None:
    done = agentrl("new", "env", "my-maze")
    assert done.exit_code == 0, done.output
    assert "agentrl envs check my_maze.py:MyMaze-v0" in done.stdout
    assert agentrl("envs", "check", "my_maze.py:MyMaze-v0").exit_code == 0
    assert refused("new", "env", "my-maze") == "my_maze.py exists already"
    assert "cannot name a Python file" in refused("new", "env", "1x")
    assert "cannot name a Python file" in refused("new", "env", "class")


def test_what_new_writes_is_tested_and_typed(folder: Path) -> None:
    agentrl("new", "env", "maze")
    for check in (["ruff", "check"], ["ruff", "format", "--check"], ["pytest", "-q", "-p", "no:cacheprovider"]):
        command = [sys.executable, "-m", *check, "maze.py" if "ruff" in check else "test_maze.py"]
        options = ["--isolated", "--line-length", "120"] if "ruff" in check else []
        done = subprocess.run([*command, *options], capture_output=True, text=True, cwd=folder, env=_environ())
        assert done.returncode == 0, done.stdout + done.stderr


def _environ() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
