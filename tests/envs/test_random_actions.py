import random
from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from agentrl.envs.core import Env
from agentrl.envs.hostile import hostile_actions
from agentrl.envs.random_actions import random_action
from agentrl.envs.spaces import ActionSpace, Messages
from agentrl.envs.tool_env import ToolEnv
from agentrl.tools import tool, tool_of
from agentrl.types import ToolCall


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(BaseModel):
    x: Annotated[float, Field(gt=0, lt=1)]
    nested: "list[Point]" = []


@tool
def everything(
    a: Annotated[int, Field(ge=3, le=5)],
    b: Annotated[int, Field(gt=3)],
    c: Annotated[float, Field(le=-2)],
    d: bool,
    e: Literal["x", "y"],
    f: Literal["one"],
    g: Colour,
    h: Annotated[list[int], Field(min_length=2, max_length=3)],
    i: str | None,
    j: Annotated[str, Field(min_length=10, max_length=12)],
    k: Point,
    m: dict[str, int],
    p: tuple[int, Literal["x"]],
    n: Any = None,
    o: int = 3,
) -> str:
    """Take everything."""
    return ""


class Everything(ToolEnv):
    everything = staticmethod(everything)


def test_random_arguments_are_valid() -> None:
    rng, env = random.Random(0), Everything()
    found = tool_of(everything)
    assert found is not None
    seen = [random_action(env, rng) for _ in range(300)]
    for action in seen:
        assert isinstance(action, ToolCall)
        found.parse(action.arguments)
    assert {action.arguments["a"] for action in seen} == {3, 4, 5}
    assert {action.arguments["e"] for action in seen} == {"x", "y"}
    assert {"o" in action.arguments for action in seen} == {True, False}


def test_random_play_is_the_same_for_the_same_generator() -> None:
    env = Everything()
    assert [random_action(env, random.Random(4)) for _ in range(3)] == [random_action(env, random.Random(4))] * 3


def test_admissible_actions_come_first() -> None:
    class Rooms(Everything):
        def admissible_actions(self) -> list[str]:
            return ["go", "stay"]

    rng = random.Random(0)
    assert {random_action(Rooms(), rng) for _ in range(20)} == {"go", "stay"}
    assert isinstance(random_action(Env(), rng), str)


@pytest.mark.parametrize("env", [Everything(), Env()])
def test_hostile_actions(env: Env) -> None:
    actions = list(hostile_actions(env))
    assert "" in actions
    assert any(isinstance(action, ToolCall) for action in actions) == bool(env.tools)
    texts = [action for action in actions if isinstance(action, str)]
    assert max(map(len, texts)) >= 100_000
    assert any(not text.isascii() for text in texts)


def test_spaces() -> None:
    assert Messages().contains("Any sentence, with (marks)!")
    assert Messages().contains([{"role": "tool", "content": ""}])
    assert not Messages().contains([{"role": "tool"}])
    assert not Messages().contains(None)
    assert ActionSpace().contains([ToolCall("a"), ToolCall("b")])
    assert not ActionSpace().contains([])
    assert not ActionSpace().contains(["a"])
    assert Messages().contains(Messages().sample())
    assert ActionSpace().contains(ActionSpace().sample())
    assert Messages() == Messages() != ActionSpace()
