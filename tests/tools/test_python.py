"""The code tool in an environment: what the agent reads."""

import random
from typing import Any

import pytest

from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.tools.python import Python
from agentrl.tools.sandboxes import Limits
from agentrl.types import ToolCall


class Desk(ToolEnv):
    """Work things out."""

    python = Python(limits=Limits(wall=2.0))

    def start(self, task: int, rng: random.Random) -> str:
        self.python.put("n.txt", str(task).encode())
        return "What is twice the number in n.txt?"

    def score(self, answer: str) -> float:
        return float(answer == "14")


@pytest.fixture
def env():
    made: Any = Desk()
    made.reset(seed=0, options={"task": 7})
    yield made
    made.close()


def run(env, code):
    (message,), _, _, _, info = env.step(ToolCall("python", code=code))
    (record,) = info["tool_calls"]
    return message["content"], record.error


def test_an_episode_with_a_session(env):
    assert run(env, "n = int(open('n.txt').read())") == ("(no output)", None)
    assert run(env, "n * 2") == ("14", None)
    assert env.step("14")[1:3] == (1.0, True)


def test_errors_and_limits_are_told(env):
    content, error = run(env, "1 / 0")
    assert (content.splitlines()[-1], error) == (error, "ZeroDivisionError: division by zero")
    content, error = run(env, "while True: pass")
    assert content.endswith("[stopped: over the limit of 2 s]")
    assert error == "stopped at the wall limit"
    content, error = run(env, "import os; os._exit(1)")
    assert content.endswith("variables are gone]")
    assert error


def test_an_episode_begins_afresh_and_instances_share_nothing(env):
    run(env, "x = 1")
    other: Any = Desk()
    other.reset(seed=0, options={"task": 8})
    assert run(other, "'x' in globals(), open('n.txt').read()")[0] == "(False, '8')"
    other.close()
    env.reset(seed=0, options={"task": 9})
    assert run(env, "'x' in globals(), open('n.txt').read()")[0] == "(False, '9')"


def test_a_state_comes_back_by_repeating_so_there_are_no_snapshots(env):
    assert Desk.snapshot_level == "replay"
    assert Desk.blocking
    with pytest.raises(UserError, match="python holds a state"):
        env.snapshot()


def test_closing_ends_the_session(env):
    session = env.python.session
    env.close()
    env.close()
    assert not session.alive()
