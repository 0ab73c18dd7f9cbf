"""What a person sees of running rollouts: a line every few seconds, and the names of episodes that are stuck."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentrl.rollout.engine import Rollout

EVERY = 5.0  # seconds between two lines
PATIENCE = 0.5  # of a step's deadline, after which an episode that has not moved is named


class Status:
    """``say`` is given the lines; ``stuck`` the names of episodes, once for each time they stand still."""

    def __init__(self, rollout: Rollout, say: Callable[[str], None], stuck: Callable[[str], None]) -> None:
        self.rollout, self.say, self.stuck = rollout, say, stuck
        self._at = time.perf_counter()
        self._spent = self._times()
        self._named: set[tuple[str, float]] = set()

    async def watch(self, every: float = EVERY) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(every)
            self.say(self.line())
            for name in self.standing():
                self.stuck(name)

    def line(self) -> str:
        """Episodes by what they do, and how busy the policy was since the last line."""
        rollout, now, spent = self.rollout, time.perf_counter(), self._times()
        doing = Counter("policy" if e.doing == "policy" else "environment" for e in rollout.live.values())
        before = {name: at if spent[name] >= at else 0.0 for name, at in self._spent.items()}  # may have begun anew
        took = {name: spent[name] - before[name] for name in spent}
        busy = took["policy"] / max(1e-9, now - self._at)
        self._at, self._spent = now, spent
        failed = sum(rollout.failures.values())
        return (
            f"rollout: {len(rollout.live)} running ({doing['environment']} environment, {doing['policy']} policy), "
            f"{rollout.queued} queued, {rollout.finished} done, {failed} failures; policy busy {busy:.0%}; "
            f"environment {took['environment']:.1f} s, policy {took['policy']:.1f} s, training {took['training']:.1f} s"
        )

    def standing(self) -> list[str]:
        """Episodes that have been at one thing for longer than is usual; each is named once."""
        found, now = [], time.perf_counter()
        for id, episode in self.rollout.live.items():
            stood = now - episode.since
            if stood > PATIENCE * self.rollout.limits.step_seconds and (id, episode.since) not in self._named:
                self._named.add((id, episode.since))
                where = f"turn {episode.turn}, {episode.doing}"
                found.append(f"stuck: {episode.job.task.key} (episode {id}, {where}) has not moved for {stood:.0f} s")
        return found

    def _times(self) -> dict[str, float]:
        rollout = self.rollout
        counters = getattr(rollout.policy, "counters", None)
        policy = counters.seconds if counters is not None else 0.0
        return {"environment": rollout.env_seconds, "policy": policy, "training": rollout.training_seconds}
