"""Every test has a registry of its own."""

from collections.abc import Iterator

import gymnasium
import pytest

from agentrl.envs import plugins, registry


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
