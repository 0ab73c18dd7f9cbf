"""What a meter tells of rollouts that go on between two readings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from agentrl.policies.base import Counters
from agentrl.trainers.meter import Meter


def test_each_reading_begins_where_the_last_one_ended() -> None:
    rollout: Any = SimpleNamespace(env_seconds=1.0, agent_seconds=0.0, failures={"a": 1})
    policy: Any = SimpleNamespace(counters=Counters(sampled_tokens=7))
    meter = Meter(rollout, policy)
    policy.counters.sampled_tokens += 5
    rollout.env_seconds, rollout.agent_seconds = 3.0, 0.5
    first = meter.read()
    policy.counters.sampled_tokens += 4
    second = meter.read()
    assert (first.counters.sampled_tokens, second.counters.sampled_tokens) == (5, 4)
    assert (first.env_seconds, first.agent_seconds, second.env_seconds) == (2.0, 0.5, 0.0)
    assert first.seconds > 0
    policy.counters.sampled_tokens += 3
    meter.start()
    assert meter.read().counters.sampled_tokens == 0


def test_failures_are_told_once() -> None:
    rollout: Any = SimpleNamespace(env_seconds=0.0, agent_seconds=0.0, failures={"a": 1})
    meter = Meter(rollout, SimpleNamespace(counters=Counters()))  # type: ignore[arg-type]
    assert meter.failures() == {"a": 1}
    rollout.failures["a"] += 2
    rollout.failures["b"] = 1
    meter.start()
    assert meter.failures() == {"a": 2, "b": 1}
    assert meter.failures() == {}
