"""Tools of real MCP servers, over pipes and over HTTP."""

import random
import runpy
import socket
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import agentrl as ar
from agentrl import api, store
from agentrl.cli.main import main
from agentrl.errors import UserError
from agentrl.tools import ToolError
from agentrl.tools.mcp import mcp
from agentrl.tools.tool import tools_of
from agentrl.types import ToolCall

SERVER = str(Path(__file__).with_name("notes_server.py"))
notes_server: Any = SimpleNamespace(**runpy.run_path(SERVER))


def env_class(tools: Any) -> type[ar.ToolEnv]:
    class Notes(ar.ToolEnv):
        """Keep notes."""

        notes = tools

        def start(self, task: Any, rng: random.Random) -> str:
            return f"Keep the number {task}."

        @ar.tool(final=True)
        def done(self, number: int) -> float:
            """Finish."""
            return float(self.notes.connection.call("read", {"number": number}, 30.0) == "7")

    return Notes


@pytest.fixture(scope="module")
def address() -> Any:
    """The same server over HTTP, in this process; its notes are shared by all who come."""
    import uvicorn

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(notes_server.server.streamable_http_app(), log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        end = time.monotonic() + 60
        while not running.started and time.monotonic() < end:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
        running.should_exit = True
        thread.join(60)


@pytest.fixture
def env(address: str) -> Any:
    notes_server.notes.clear()
    made = env_class(mcp(address))()
    yield made
    made.close()


def said(step: Any) -> str:
    return step[0][0]["content"]


def test_over_pipes_every_episode_has_a_program_of_its_own():
    env = env_class(mcp(sys.executable, SERVER))()
    tools = {tool.name: tool for tool in tools_of(type(env).notes).values()}
    assert list(tools) == ["keep", "read", "picture", "sleep", "leave"]
    function = tools["keep"].schema["function"]
    assert function["description"] == "Keep a note."
    assert function["parameters"]["required"] == ["text"]
    assert tools["keep"].arguments == ["text", "times"]
    assert env.snapshot_level == "none"
    try:
        for _ in range(2):
            env.reset(seed=0, options={"task": 7})
            step = env.step(ToolCall("keep", text="7"))
            assert said(step) == "1 kept"
            assert step[4]["tool_calls"][0].name == "keep"
            _, reward, over, _, _ = env.step(ToolCall("done", number=1))
            assert (reward, over) == (1.0, True)
        env.reset(seed=0, options={"task": 7})
        for call in (ToolCall("leave"), ToolCall("keep", text="7")):  # it went in the middle: no fault of the agent's
            with pytest.raises(Exception, match=r"server .* failed: |server .* has gone"):
                env.step(call)
        env.reset(seed=0, options={"task": 7})
        assert said(env.step(ToolCall("keep", text="7"))) == "1 kept"
    finally:
        env.close()


def test_over_http(env):
    env.reset(seed=0, options={"task": 7})
    assert said(env.step(ToolCall("keep", text="7", times=2))) == "2 kept"
    assert env.step(ToolCall("done", number=2))[1] == 1.0
    assert notes_server.notes == ["7", "7"]


def test_errors_are_read_by_the_agent(env):
    env.reset(seed=0, options={"task": 7})
    step = env.step(ToolCall("read", number=5))
    assert "there is no note 5" in said(step)
    assert step[4]["valid"] is True
    for call, why in (
        (ToolCall("read", number="x"), "argument 'number': 'x' is not of type 'integer'"),
        (ToolCall("keep"), "'text' is a required property"),
        (ToolCall("keeps", text="a"), "did you mean 'keep'"),
    ):
        step = env.step(call)
        assert why in said(step)
        assert step[4]["valid"] is False


def test_a_picture_is_a_content_part(env):
    env.reset(seed=0, options={"task": 7})
    ((message,), *_) = env.step(ToolCall("picture"))
    (part,) = message["content"]
    assert part["image"].startswith("data:image/png;base64,iVBOR")


def test_a_call_that_takes_too_long_is_an_error_of_the_tool(address):
    made = mcp(address)
    try:
        with pytest.raises(ToolError, match=r"sleep took longer than 0\.2 s"):
            made.connection.call("sleep", {"seconds": 600.0}, 0.2)
        assert made.connection.call("picture", {}, 30.0)  # and the next one is answered
    finally:
        made.close()
        made.close()


def test_to_a_stateless_server_the_connection_stays_and_episodes_branch(address):
    env = env_class(mcp(address, stateless=True))()
    try:
        env.reset(seed=0, options={"task": 7})
        env.step(ToolCall("keep", text="7"))
        saved, connection = env.snapshot(), env.notes.connection
        env.reset(seed=0, options={"task": 7})
        assert env.notes.connection is connection
        env.step(ToolCall("keep", text="8"))
        env.restore(saved)
        assert [call.arguments["text"] for call in env.used] == ["7"]
    finally:
        env.close()


def test_a_server_that_is_not_there_is_named():
    for server in (("no-such-program-here",), (sys.executable, "-c", "raise SystemExit(3)")):
        with pytest.raises(UserError, match=f"no MCP server answers at '{server[0]}"):
            mcp(*server)
    with pytest.raises(UserError, match="an address or a command"):
        mcp()


def test_without_the_sdk_the_cure_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(UserError, match=r"pip install 'agentrl-toolkit\[mcp\]'"):
        mcp("http://localhost:1/mcp")


def test_the_engine_plays_with_them(address, tmp_path):
    cls = ar.register("Notes-v0", splits={"train": range(4)}, max_turns=3)(env_class(mcp(address)))
    cls.expert = lambda self: ToolCall("done", number=1) if self.used else ToolCall("keep", text="7")
    notes_server.notes.clear()
    api.collect("Notes-v0", "expert", 3, tmp_path / "demos")
    played = [t for group in store.read(tmp_path / "demos") for t in group]
    assert [t.success for t in played] == [True] * 3
    assert [[call.name for turn in t.turns for call in turn.tool_calls] for t in played] == [["keep"]] * 3
    assert sorted(t.turns[1].observation[0]["content"] for t in played) == ["1 kept", "2 kept", "3 kept"]


def test_they_can_be_called_from_the_command_line(tmp_path, capsys):
    file = tmp_path / "notes.py"
    file.write_text(f"from agentrl.tools.mcp import mcp\n\nnotes = mcp({sys.executable!r}, {SERVER!r})\n")
    with pytest.raises(SystemExit) as end:
        main(["tools", "call", f"{file}:keep", "--args", '{"text": "a", "times": 2}'])
    assert (end.value.code, capsys.readouterr().out) == (0, "2 kept\n")
