import asyncio
import logging
import random
import threading
from typing import Any, ClassVar

import pytest

from agentrl.envs import registry
from agentrl.envs.core import Snapshots, key_of
from agentrl.envs.tool_env import ToolEnv
from agentrl.errors import UserError
from agentrl.tools import ToolError, Toolset, tool
from agentrl.types import ToolCall


class Box(ToolEnv):
    """Open the box.

    Notes for people, not for agents.
    """

    def start(self, task: int, rng: random.Random) -> str:
        self.draws = rng
        self.opened: list[int] = []
        return f"task {task}"

    @tool(cost=0.25)
    def look(self, at: int = 1) -> dict[str, Any]:
        """Look."""
        self.opened.append(at)
        return {"at": at, "draw": self.draws.randint(0, 10**9)}

    @tool
    def fail(self) -> str:
        """Fail as tools do."""
        raise ToolError("the lid is stuck")

    @tool
    def crash(self) -> str:
        """Fail as programs do."""
        raise KeyError("bug")

    @tool(final=True, name="open")
    def open_it(self, number: int) -> float:
        """Open."""
        return number / 10


def started(cls: type[ToolEnv] = Box, seed: int = 0) -> Any:
    env = cls()
    env.reset(seed=seed, options={"task": 1})
    return env


def contents(result: Any) -> list[str]:
    return [message["content"] for message in result[0]]


def test_an_episode_of_guess(guess: str) -> None:
    env: Any = registry.make(guess)
    for seed in range(50):
        _, info = env.reset(seed=seed)
        turns, over = 0, False
        while not over:
            _, reward, over, truncated, info = env.step(env.expert())
            turns += 1
        assert (reward, truncated, info["success"], info["tool_calls"]) == (1.0, False, True, [])
        assert turns <= 7


def test_guess_by_chance(guess: str) -> None:
    from agentrl.envs.random_actions import random_action

    env: Any = registry.make(guess)
    wins, rng = 0, random.Random(0)
    for seed in range(2000):
        env.reset(seed=seed)
        for _ in range(8):
            _, reward, over, _, _ = env.step(random_action(env, rng))
            if over:
                wins += reward == 1.0
                break
    assert 0.005 < wins / 2000 < 0.03  # 1.7% in the long run


def test_instructions_are_the_first_paragraph() -> None:
    assert Box.instructions == "Open the box."

    class Told(Box):
        """Something for people."""

        instructions = "Told so."

    class Silent(Told):
        pass

    assert Told.instructions == Silent.instructions == "Told so."
    assert [schema["function"]["name"] for schema in Box.tools] == ["look", "fail", "crash", "open"]


def test_a_call_and_its_record() -> None:
    messages, reward, terminated, truncated, info = started().step(ToolCall("look", at="2"))
    assert messages == [{"role": "tool", "name": "look", "content": messages[0]["content"]}]
    assert messages[0]["content"].startswith('{"at":2,')
    assert (reward, terminated, truncated, info["valid"]) == (0.0, False, False, True)
    (record,) = info["tool_calls"]
    assert (record.name, record.arguments, record.cost, record.error) == ("look", {"at": "2"}, 0.25, None)
    assert record.result_chars == len(messages[0]["content"])
    assert 0 < record.seconds < 1


def test_a_final_tool_ends_and_is_no_tool_call() -> None:
    env = started()
    assert env.step(ToolCall("open", number=10))[1:] == (
        1.0, True, False, {"valid": True, "tool_calls": [], "success": True},
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="the episode is over"):
        env.step(ToolCall("look"))
    assert started().step(ToolCall("open", number=9))[4]["success"] is False


def test_several_calls_run_in_order_until_one_ends() -> None:
    env = started()
    messages, _, _, _, info = env.step([ToolCall("look", at=1), ToolCall("nope"), ToolCall("look", at=2)])
    assert [m["name"] for m in messages] == ["look", "nope", "look"]
    assert info["valid"] is False
    assert [record.error is None for record in info["tool_calls"]] == [True, False, True]
    assert env.opened == [1, 2]
    messages, reward, terminated, _, info = env.step([ToolCall("look"), ToolCall("open", number=5), ToolCall("look")])
    assert (len(messages), reward, terminated, len(info["tool_calls"])) == (2, 0.5, True, 1)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (ToolCall("loook"), "error: unknown tool 'loook'; did you mean 'look'? Known: crash, fail, look, open"),
        (ToolCall("look", at="x"), "error: argument 'at': Input should be a valid integer"),
        (ToolCall("open"), "error: missing argument 'number'"),
        (ToolCall("open_it", number=1), "error: unknown tool 'open_it'"),
        (ToolCall("reset"), "error: unknown tool 'reset'"),
        ("hello", "error: Plain text does nothing here: call a tool, and open to finish."),
        ([], "error: An action is a call of one of the tools look, fail, crash, open."),
        (None, "error: An action is a call"),
        (["look"], "error: An action is a call"),
    ],
)
def test_what_means_nothing_is_told_and_costs_nothing(action: Any, message: str) -> None:
    result = started().step(action)
    assert contents(result)[0].startswith(message)
    assert result[1:4] == (0.0, False, False)
    assert result[4]["valid"] is False
    assert sum(record.cost for record in result[4]["tool_calls"]) == 0


def test_tool_errors_are_read_and_other_exceptions_are_failures() -> None:
    env = started()
    result = env.step(ToolCall("fail"))
    assert contents(result) == ["error: the lid is stuck"]
    assert result[4]["valid"] is True
    assert result[4]["tool_calls"][0].error == "the lid is stuck"
    with pytest.raises(KeyError, match="bug"):
        env.step(ToolCall("crash"))


def test_a_plain_answer_is_scored_where_there_is_no_final_tool() -> None:
    class Quiz(ToolEnv):
        def start(self, task: int, rng: random.Random) -> str:
            return "2 + 2?"

        @tool
        def add(self, a: int, b: int) -> int:
            """Add."""
            return a + b

        def score(self, answer: str) -> bool:
            return answer == "4"

    env = started(Quiz)
    assert contents(env.step(ToolCall("add", a=2, b=2))) == ["4"]
    assert env.step("4")[1:] == (1.0, True, False, {"valid": True, "tool_calls": [], "success": True})
    assert started(Quiz).step("5")[1] == 0.0


def test_authors_learn_what_is_missing() -> None:
    class Nothing(ToolEnv):
        pass

    with pytest.raises(NotImplementedError, match="must define start"):
        started(Nothing)

    class Endless(ToolEnv):
        def start(self, task: int, rng: random.Random) -> str:
            return ""

    with pytest.raises(NotImplementedError, match=r"needs a final tool or score"):
        started(Endless).step("x")

    class Worthless(Endless):
        @tool(final=True)
        def stop(self) -> None:
            """Stop."""

    with pytest.raises(TypeError, match="final tool 'stop' of Worthless must return the reward, not None"):
        started(Worthless).step(ToolCall("stop"))

    with pytest.raises(TypeError, match="two tools named 'open'"):

        class Twice(Box):
            @tool
            def open(self) -> str:
                """Open."""
                return ""


def test_functions_and_inherited_tools() -> None:
    @tool
    def double(n: int) -> int:
        """Double."""
        return 2 * n

    class More(Box):
        twice = staticmethod(double)

        @tool
        def fail(self) -> str:
            """Do not fail."""
            return "fine"

    env = started(More)
    assert contents(env.step([ToolCall("double", n=4), ToolCall("fail")])) == ["8", "fine"]
    assert len(Box.tools) == 4


def test_the_task_given_and_the_task_picked_play_alike() -> None:
    class Picks(Box):
        task_source = staticmethod(lambda: range(1000))

    env = Picks()
    observation, info = env.reset(seed=5)
    drawn = env.step(ToolCall("look"))[0]
    assert env.reset(seed=5, options={"task": info["task"]})[0] == observation
    assert env.step(ToolCall("look"))[0] == drawn
    env.reset(seed=6, options={"task": info["task"]})
    assert env.step(ToolCall("look"))[0] != drawn


def test_snapshots_hold_everything_and_can_be_used_again() -> None:
    env, other = started(), started(seed=3)
    env.step(ToolCall("look"))
    saved = env.snapshot()
    assert isinstance(env, Snapshots)
    ahead = [env.step(ToolCall("look", at=i))[0] for i in range(3)]
    env.step(ToolCall("open", number=1))
    for one in (env, other, env):
        one.late = "an attribute of later"
        one.restore(saved)
        assert not hasattr(one, "late")
        assert one.opened == [1]
        assert one.draws is one.rng  # what was one object stays one
        assert [one.step(ToolCall("look", at=i))[0] for i in range(3)] == ahead
    assert env.opened is not other.opened


def test_an_attribute_that_is_not_plain_data(caplog: pytest.LogCaptureFixture) -> None:
    class Locked(Box):
        def start(self, task: int, rng: random.Random) -> str:
            self.lock = threading.Lock()
            return super().start(task, rng)

    with caplog.at_level(logging.WARNING):
        env = started(Locked)
        env.reset(seed=2, options={"task": 1})
        started(Locked)
    assert [r.getMessage().partition(" (")[0] for r in caplog.records] == [
        "Locked has no snapshots: attribute 'lock' is not plain data"
    ]
    assert env.snapshot_level == "none"
    assert started().snapshot_level == "exact"
    with pytest.raises(UserError, match="'lock' is not plain data"):
        env.snapshot()


def test_state_keys(guess: str) -> None:
    env: Any = registry.make(guess)
    observation, _ = env.reset(seed=0, options={"task": 3})
    before = key_of(env, observation)
    first = env.step(ToolCall("compare", guess=32))[0]
    env.reset(seed=9, options={"task": 3})
    other = env.step([ToolCall("compare", guess=32), ToolCall("compare", guess=64)])[0]
    assert first != other
    assert key_of(env, first) == key_of(env, other) != before  # the same knowledge, in other words
    assert key_of(started(), "a") != key_of(started(), "b")


def test_an_argument_may_have_any_name() -> None:
    class Odd(Box):
        @tool
        def odd(self, function: str, name: str, args: int) -> str:
            """Take odd names."""
            return f"{function} {name} {args}"

    assert contents(started(Odd).step(ToolCall("odd", function="f", name="n", args=1))) == ["f n 1"]


def test_coroutine_tools_inside_and_outside_of_a_loop() -> None:
    class Slow(Box):
        async def start(self, task: int, rng: random.Random) -> str:
            await asyncio.sleep(0)
            return "waited"

        @tool
        async def wait(self) -> str:
            """Wait."""
            await asyncio.sleep(0.001)
            return threading.current_thread().name

    async def inside() -> tuple[Any, Any]:
        env = Slow()
        await env.areset(options={"task": 1})
        return await env.astep(ToolCall("wait")), started(Slow).step(ToolCall("wait"))

    assert Slow.blocking  # so that the engine sets a deadline
    assert not Box.blocking
    assert contents(started(Slow).step(ToolCall("wait"))) == ["agentrl-sync"]
    awaited, plain = asyncio.run(inside())
    assert contents(awaited) == ["MainThread"]
    assert contents(plain) == ["agentrl-sync"]


def test_blocking_tools_get_a_thread() -> None:
    class Blocking(Box):
        blocking: ClassVar[bool] = True

        @tool
        def where(self) -> str:
            """Where."""
            return threading.current_thread().name

    env = started(Blocking)
    assert contents(env.step(ToolCall("where")))[0].startswith("Blocking")
    assert contents(asyncio.run(env.astep(ToolCall("where"))))[0].startswith("Blocking")
    env.close()
    assert started(Box).step(ToolCall("look"))[1] == 0.0


def test_as_many_at_once_as_the_tool_that_allows_fewest():
    class Many(Toolset):
        at_once = 8

    class Few(Toolset):
        at_once = 3

    class Both(ToolEnv):
        many, few = Many(), Few()

    assert (Both.at_once, ToolEnv.at_once) == (3, None)
