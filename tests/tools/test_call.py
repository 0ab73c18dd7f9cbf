"""A call on its terms."""

import asyncio
import threading
import time

import pytest

from agentrl.tools import Price, ToolError, tool
from agentrl.tools import call as calls
from agentrl.tools.call import call
from agentrl.tools.tool import tool_of


async def in_thread(function):
    return await asyncio.to_thread(function)


def called(function, **arguments):
    return asyncio.run(call(tool_of(function), function, arguments, in_thread))


def test_a_call_is_recorded():
    @tool(cost=Price(call=1.0, second=100.0, tokens=8.0))
    def look(at: int) -> str:
        time.sleep(0.01)
        return "x" * 400

    made = called(look, at=3)
    record = made.record
    assert (record.name, record.arguments, record.result_chars, record.error) == ("look", {"at": 3}, 400, None)
    assert record.seconds >= 0.01
    assert record.cost == pytest.approx(1.0 + 100.0 * record.seconds + 8.0 * 0.1)
    assert made.valid


def test_a_call_that_never_began_costs_nothing():
    @tool(cost=5.0)
    def look(at: int) -> str:
        return ""

    made = called(look, at="here")
    assert (made.valid, made.record.cost, made.record.seconds) == (False, 0.0, 0.0)
    assert made.content == f"error: {made.record.error}"


def test_what_a_tool_refuses_is_read_and_paid_for():
    @tool(cost=5.0)
    def look() -> str:
        raise ToolError("too dark", "It is too dark to see.")

    made = called(look)
    assert (made.content, made.record.error, made.record.cost, made.valid) == (
        "It is too dark to see.", "too dark", 5.0, True,
    )  # fmt: skip


def test_what_a_tool_does_wrong_is_not_hidden():
    @tool
    def look() -> str:
        raise KeyError("bug")

    with pytest.raises(KeyError):
        called(look)


@pytest.mark.parametrize("kind", ["coroutine", "function"])
def test_a_call_ends_at_its_time_limit(kind):
    going_on = threading.Event()

    @tool(seconds=0.05)
    async def wait() -> str:
        await asyncio.sleep(60)
        return ""

    @tool(seconds=0.05)
    def block() -> str:
        going_on.wait(60)
        return ""

    async def left_behind(function):
        return await asyncio.wrap_future(asyncio.get_running_loop().run_in_executor(None, function))

    function = wait if kind == "coroutine" else block
    try:
        made = asyncio.run(_release(call(tool_of(function), function, {}, in_thread), going_on))
    finally:
        going_on.set()
    assert made.record.error == f"{function.__name__} took longer than 0.05 s"


async def _release(waiting, event):
    made = await waiting
    event.set()  # asyncio.run waits for its threads
    return made


def test_a_time_limit_of_the_tool_s_own_is_a_failure_of_the_tool():
    @tool(seconds=60)
    def connect() -> str:
        raise TimeoutError("no route")

    with pytest.raises(TimeoutError, match="no route"):
        called(connect)


def test_a_long_result_is_cut_and_says_so():
    @tool(max_chars=10)
    def read() -> str:
        return "0123456789abc"

    @tool(max_chars=10)
    def see() -> list[dict[str, str]]:
        return [
            {"type": "text", "text": "0123456"},
            {"type": "image", "image": "data:,"},
            {"type": "text", "text": "789abc"},
        ]

    assert called(read).content == "0123456789\n... 3 characters cut"
    assert [part.get("text", "-") for part in called(see).content] == ["0123456", "-", "789\n... 3 characters cut"]


def test_calls_keep_to_their_rate(monkeypatch):
    @tool(rate=4)
    def look() -> str:
        return ""

    waits, now = [], 100.0
    monkeypatch.setattr(calls.time, "monotonic", lambda: now)
    monkeypatch.setattr(calls.asyncio, "sleep", lambda seconds: _note(waits, seconds))
    for _ in range(3):
        called(look)
    now += 0.6
    called(look)
    now += 10
    called(look)
    assert waits == pytest.approx([0.0, 0.25, 0.5, 0.15, 0.0])


async def _note(waits, seconds):
    waits.append(seconds)


def test_a_cached_result_is_the_first_one_and_costs_the_same():
    made = []

    @tool(cache=True, cost=1.0)
    def add(a: int, b: int = 0) -> int:
        made.append((a, b))
        return a + b

    results = [
        called(add, **arguments) for arguments in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": "1", "b": 2}, {"a": 1})
    ]
    assert [result.content for result in results] == ["3", "3", "3", "1"]
    assert made == [(1, 2), (1, 0)]
    assert {result.record.cost for result in results} == {1.0}


def test_a_refusal_is_not_kept():
    attempts = []

    @tool(cache=True)
    def look() -> str:
        attempts.append(1)
        raise ToolError("not now")

    called(look), called(look)
    assert len(attempts) == 2


def test_only_plain_functions_are_cached():
    with pytest.raises(TypeError, match="a method has a state"):

        class Box:
            @tool(cache=True)
            def look(self) -> str:
                return ""
