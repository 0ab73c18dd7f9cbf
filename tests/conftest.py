"""Every test has a registry of its own, and torch one thread: two that wait for each other crawl on a busy machine."""

import asyncio
import os
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import gymnasium
import pytest

from agentrl.envs import plugins, registry

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in what tests start


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Without vLLM a test of it is skipped, or fails where AGENTRL_REQUIRE names vllm."""
    required = "vllm" in os.environ.get("AGENTRL_REQUIRE", "").split(",")
    if item.get_closest_marker("vllm") and not required and find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is gone after it."""
    outside = dict(gymnasium.registry)
    monkeypatch.setattr(registry, "_specs", dict(registry._specs))
    monkeypatch.setattr(plugins, "_loaded", dict(plugins._loaded))
    monkeypatch.setattr(plugins, "_discovered", set(plugins._discovered))
    yield
    gymnasium.registry.clear()
    gymnasium.registry.update(outside)


@pytest.fixture(scope="session")
def chromium() -> Any:
    """Chromium, started. Without it a test is skipped, or fails where AGENTRL_REQUIRE names web."""
    try:
        from agentrl.tools.browser.chromium import shared

        asyncio.run(shared().run(shared()._started()))
    except Exception as error:
        if "web" in os.environ.get("AGENTRL_REQUIRE", "").split(","):
            raise
        pytest.skip(f"no browser here: {str(error).splitlines()[0]}")
    return shared()


@pytest.fixture(scope="session")
def gui() -> None:
    """A machine on which desktops start. Elsewhere a test is skipped, or fails where AGENTRL_REQUIRE names gui."""
    from agentrl.tools.desktop import Desktop

    desktop = Desktop()
    try:
        desktop.open({}, [["galculator"]])
    except Exception as error:
        if "gui" in os.environ.get("AGENTRL_REQUIRE", "").split(","):
            raise
        pytest.skip(f"no desktop here: {str(error).splitlines()[0]}")
    finally:
        desktop.close()
