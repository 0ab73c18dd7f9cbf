"""What rollouts cost between two readings: where they run ahead, they go on while others train."""

from __future__ import annotations

import time
from dataclasses import dataclass

from agentrl.policies.base import Counters, Learning
from agentrl.rollout.engine import Rollout


@dataclass(frozen=True, slots=True)
class Reading:
    seconds: float
    counters: Counters
    env_seconds: float
    agent_seconds: float


class Meter:
    """Counts from when it is made, or was last read or started anew."""

    def __init__(self, rollout: Rollout, policy: Learning) -> None:
        self.rollout, self.policy = rollout, policy
        self._failures: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        self._begin = time.perf_counter()
        self._spent = self.rollout.env_seconds, self.rollout.agent_seconds
        self.policy.counters = Counters()

    def read(self) -> Reading:
        """Since the last start; starts anew."""
        rollout, counters, begin, (env, agent) = self.rollout, self.policy.counters, self._begin, self._spent
        self.start()
        return Reading(self._begin - begin, counters, rollout.env_seconds - env, rollout.agent_seconds - agent)

    def failures(self) -> dict[str, int]:
        """Tries that infrastructure broke, by kind, since this was last asked."""
        now, before = dict(self.rollout.failures), self._failures
        self._failures = now
        return {kind: n - before.get(kind, 0) for kind, n in now.items() if n > before.get(kind, 0)}
