import json

import pytest
from typer.testing import CliRunner

from agentrl.cli.main import app
from agentrl.errors import UserError

MINE = '''
from agentrl.tools import Toolset, tool


@tool(cost=0.5)
def shout(text: str, times: int = 1) -> str:
    """Say it loudly."""
    return text.upper() * times


class Counter(Toolset):
    def reset(self) -> None:
        self.n = 0

    @tool
    def count(self) -> dict[str, int]:
        """One more."""
        self.n += 1
        return {"n": self.n}
'''


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")


def agentrl(*args):
    return CliRunner().invoke(app, ["tools", *args])


def refused(*args):
    error = agentrl(*args).exception
    assert isinstance(error, UserError), error
    return str(error)


def test_code_is_run_in_a_sandbox():
    result = agentrl("call", "python", "--args", '{"code": "print(6*7)"}')
    assert (result.output, result.exit_code) == ("42\n", 0)


def test_an_error_is_printed_as_the_agent_reads_it():
    result = agentrl("call", "python", "--args", '{"code": "1/0"}')
    assert result.output.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert result.exit_code == 1


def test_tools_are_listed_and_shown():
    listed = json.loads(agentrl("list", "--json").output)
    assert [tool["name"] for tool in listed] == ["calculator", "python"]
    assert "Run Python code" in agentrl("list").output
    shown = json.loads(agentrl("show", "python", "--json").output)
    assert shown["schema"]["function"]["parameters"]["required"] == ["code"]
    assert "max_chars" in agentrl("show", "python").output
    limits = {"wall": 10.0, "cpu": 10.0, "memory": 512 << 20, "processes": 64, "disk": 64 << 20, "output": 64 << 10}
    assert shown["limits"] == limits
    assert "limits" not in json.loads(agentrl("show", "calculator", "--json").output)


def test_tools_of_a_file():
    assert agentrl("call", "mine.py:shout", "--args", '{"text": "hey", "times": 2}').output == "HEYHEY\n"
    record = json.loads(agentrl("call", "mine.py:count", "--json").output)
    assert (record["content"], record["name"], record["error"]) == ('{"n":1}', "count", None)


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["call", "pyton"], "unknown tool 'pyton'; did you mean 'python'?"),
        (["call", "python", "--args", '{"cod": ""}'], "unknown argument of python 'cod'; did you mean 'code'?"),
        (["call", "python"], "python: missing argument 'code'"),
        (["call", "python", "--args", "{"], "--args is no JSON"),
        (["call", "python", "--args", "[]"], '--args must be a JSON object, as {"code": ...}'),
        (
            ["call", "python", "--args", '{"code": ""}', "--sandbox", "locl"],
            "unknown sandbox 'locl'; did you mean 'local'",
        ),
        (["call", "calculator", "--args", '{"expression": "1"}', "--sandbox", "local"], "calculator runs no code"),
        (["show", "mine.py:shot"], "unknown tool of mine.py 'shot'; did you mean 'shout'?"),
        (["show", "their.py:shout"], "their.py is no file"),
    ],
)
def test_what_is_wrong_is_named_in_a_line(args, line):
    said = refused(*args)
    assert said.startswith(line)
    assert "\n" not in said


@pytest.mark.parametrize("verb", ["list", "show", "call"])
def test_help_shows_an_example(verb):
    assert f"agentrl tools {verb}" in agentrl(verb, "--help").output
