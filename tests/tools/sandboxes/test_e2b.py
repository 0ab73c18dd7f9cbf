"""The E2B sandbox through its own SDK, against a stand-in of the service."""

import gc

import pytest
from service import KEY, service

from agentrl.errors import UserError
from agentrl.tools.sandboxes import Limits, SandboxError, sandbox_named

pytest.importorskip("e2b_code_interpreter")


@pytest.fixture
def server(monkeypatch):
    with service() as made:
        address = f"http://127.0.0.1:{made.server_port}"
        for name in ("E2B_API_URL", "E2B_SANDBOX_URL"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("E2B_API_KEY", KEY)
        monkeypatch.setenv("E2B_HTTP_VERSION", "1.1")
        yield made


@pytest.fixture
def session(server):
    opened = sandbox_named("e2b").open(Limits(wall=3.0, output=1000))
    yield opened
    opened.close()


def test_a_session_on_a_machine(session, server):
    assert session.run("x = 20").output == ""
    assert session.run("print('so')\n2 * x + 2").output == "so\n42\n"
    run = session.run("1 / 0")
    assert (run.error, run.restarted) == ("ZeroDivisionError: division by zero", False)
    assert run.output.endswith("ZeroDivisionError: division by zero\n")
    assert "\x1b" not in run.output
    assert server.created[0]["allow_internet_access"] is False


def test_files_go_in_and_out(session):
    data = bytes(range(256)) * 10
    session.write("folder/a.bin", data)
    assert session.read("folder/a.bin") == data
    assert session.run("len(open('folder/a.bin', 'rb').read())").output == "2560\n"
    for path in ("missing", "../x", "/etc/passwd", ""):
        with pytest.raises(SandboxError):
            session.read(path)


def test_a_run_ends_at_its_limit_and_the_next_one_works(session):
    session.limits = Limits(wall=0.5)
    session.run("x = 1")
    run = session.run("import time; time.sleep(30)")
    assert (run.stopped, run.restarted) == ("wall", True)
    assert session.run("'x' in globals()").output == "False\n"


def test_long_output_is_cut(session):
    output = session.run("for i in range(10_000): print(i)").output
    assert output.startswith("0\n1\n")
    assert output.endswith("9999\n")
    assert len(output) < 1100


def test_a_machine_that_is_gone_is_replaced(session, server):
    server.machines.clear()
    assert not session.alive()
    assert session.run("1").restarted
    assert session.run("6 * 7").output == "42\n"
    assert len(server.created) == 2


def test_machines_are_given_back(server):
    session = sandbox_named("e2b").open(Limits())
    session.close()
    session.close()
    assert server.machines == {}
    with pytest.raises(SandboxError, match="closed"):
        session.run("1")
    forgotten = sandbox_named("e2b").open(Limits())
    assert len(server.machines) == 1
    del forgotten
    gc.collect()
    assert server.machines == {}


def test_a_key_is_asked_for_and_checked(server, monkeypatch):
    monkeypatch.setenv("E2B_API_KEY", "e2b_" + "1" * 40)
    with pytest.raises(UserError, match="Invalid API key"):
        sandbox_named("e2b").open(Limits())
    monkeypatch.delenv("E2B_API_KEY")
    with pytest.raises(UserError, match="E2B_API_KEY"):
        sandbox_named("e2b").open(Limits())


def test_a_missing_package_is_named_with_its_cure(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "e2b_code_interpreter", None)
    monkeypatch.delitem(sys.modules, "agentrl.tools.sandboxes.e2b", raising=False)
    with pytest.raises(UserError, match=r"pip install 'agentrl-toolkit\[e2b\]'"):
        sandbox_named("e2b")
