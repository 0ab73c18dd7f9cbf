from concurrent.futures import ThreadPoolExecutor

import pytest

from agentrl.tools.sandboxes import Limits
from agentrl.tools.sandboxes.local import Local
from agentrl.tools.sandboxes.pool import Pool, shared


@pytest.fixture
def pool():
    made = Pool(Local(), Limits(wall=5.0))
    yield made
    made.close()


def test_every_session_is_fresh_and_handed_out_once(pool):
    with ThreadPoolExecutor(4) as threads:
        sessions = list(threads.map(lambda _: pool.take(), range(6)))
    assert len({id(session) for session in sessions}) == 6
    for session in sessions:
        assert session.run("'x' in globals()").output == "False\n"
        session.run("x = 1")
        session.close()


def test_the_next_session_is_ready(pool):
    pool.take().close()
    ready = [future.result() for future in pool._ready]
    assert len(ready) == pool.warm
    session = pool.take()
    assert session in ready
    session.close()


def test_a_warm_session_that_died_is_not_handed_out(pool):
    pool.take().close()
    for future in pool._ready:
        future.result()._guest._process.kill()
    session = pool.take()
    assert session.run("1").output == "1\n"
    session.close()


def test_closing_the_pool_closes_what_is_ready(pool):
    pool.take().close()
    ready = [future.result() for future in pool._ready]
    pool.close()
    assert not any(session.alive() for session in ready)


def test_one_pool_a_sandbox_and_limits():
    assert shared("local", Limits()) is shared("local", Limits())
    assert shared("local", Limits()) is not shared("local", Limits(wall=1.0))
