"""An event loop in a thread of its own: what is asked of it is answered, ended and failed where it was asked."""

import asyncio
import threading

import pytest

from agentrl.policies.bridge import Bridge


@pytest.fixture
def bridge():
    bridge = Bridge("there")
    yield bridge
    bridge.close()


async def doubled(number, seconds=0.0):
    await asyncio.sleep(seconds)
    return threading.current_thread().name, 2 * number


def test_what_is_asked_runs_there_and_is_answered_here(bridge):
    async def many():
        return await asyncio.gather(*(bridge.ask(doubled(i, 0.01 * (i % 3))) for i in range(300)))

    assert asyncio.run(many()) == [("there", 2 * i) for i in range(300)]
    assert bridge.call(doubled(4)) == ("there", 8)


def test_two_loops_ask_at_once(bridge):
    found = {}

    def other(number):
        async def many():
            return [await bridge.ask(doubled(number + i)) for i in range(100)]

        found[number] = asyncio.run(many())

    threads = [threading.Thread(target=other, args=(1000 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {1000 * n: [("there", 2 * (1000 * n + i)) for i in range(100)] for n in range(4)}


def test_an_error_is_raised_where_it_was_asked_for(bridge):
    async def fails():
        raise ValueError("there")

    async def asked():
        with pytest.raises(ValueError, match="there"):
            await bridge.ask(fails())
        return await bridge.ask(doubled(1))

    assert asyncio.run(asked())[1] == 2


def test_who_gives_up_ends_it(bridge):
    ended = threading.Event()

    async def forever():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async def impatient():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(bridge.ask(forever()), 0.05)
        at_once = asyncio.ensure_future(bridge.ask(doubled(1)))
        await asyncio.sleep(0)
        at_once.cancel()  # before the other loop has begun it
        return await bridge.ask(doubled(3))

    assert asyncio.run(impatient())[1] == 6
    assert ended.wait(5)


def test_a_loop_that_is_gone_is_not_waited_for(bridge):
    async def leaves():
        asyncio.ensure_future(bridge.ask(doubled(1, 0.05)))  # noqa: RUF006
        await asyncio.sleep(0)

    asyncio.run(leaves())
    assert bridge.call(doubled(2, 0.1))[1] == 4


def test_closing_twice_is_closing():
    bridge = Bridge("there")
    bridge.close()
    bridge.close()
    assert bridge.loop.is_closed()
