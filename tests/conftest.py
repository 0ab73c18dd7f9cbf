"""Every test has a registry of its own, and torch one thread: two that wait for each other crawl on a busy machine."""

import os
from collections.abc import Iterator

import gymnasium
import pytest

from agentrl.envs import plugins, registry

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is first imported, here and in what tests start


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
