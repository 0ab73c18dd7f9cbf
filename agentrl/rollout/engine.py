"""Many episodes at once: environments are pooled, requests meet in the policy's batch, failures are data."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.envs import registry
from agentrl.envs.core import Snapshot
from agentrl.errors import UserError
from agentrl.policies.base import Policy, ScriptedPolicy
from agentrl.rollout.episode import Episode, Job
from agentrl.rollout.limits import Limits
from agentrl.rollout.stem import Stem
from agentrl.types import StopReason, Task, Trajectory


@dataclass
class Rollout:
    """Plays jobs with one policy. ``concurrency`` episodes run at once; the rest queue in the order given.

    With ``keep_states`` environments that can are saved before every turn, so that jobs with a stem need not take its
    actions again; :meth:`forget` drops what is kept.

    With ``deterministic`` the policy waits at every step until all running episodes have asked: batches, and so
    weights, are then the same bit for bit from run to run on one machine and thread count.
    """

    policy: Policy | ScriptedPolicy
    agent: AgentConfig = field(default_factory=AgentConfig)
    limits: Limits = field(default_factory=Limits)
    concurrency: int = 128
    deterministic: bool = True
    workers: int = 0
    keep_states: bool = False
    failures: dict[str, int] = field(default_factory=dict, init=False)
    env_seconds: float = field(default=0.0, init=False)
    agent_seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._envs: dict[tuple[str, Any], list[Any]] = {}
        self._agents: dict[tuple[str, Any], ChatAgent] = {}
        self._states: dict[tuple[str, int], Snapshot] = {}  # by trajectory and turn
        self._told = False
        self._pool: Any = None

    async def run(
        self, jobs: Sequence[Job], on_done: Callable[[Trajectory], None] | None = None, retries: int = 0
    ) -> list[Trajectory]:
        """The trajectories in the order of the jobs, failed ones included (``retries`` times tried again)."""
        left = len(jobs)
        done: list[Trajectory | None] = [None] * len(jobs)
        gate = asyncio.Semaphore(self.concurrency)

        async def one(index: int, job: Job) -> None:
            nonlocal left
            async with gate:
                try:
                    for _ in range(retries + 1):
                        trajectory = await self._play(job)
                        if trajectory.trusted:
                            break
                finally:
                    left -= 1
            done[index] = trajectory
            if on_done is not None:
                on_done(trajectory)

        def live() -> int:  # episodes that will ask: one that waits for a place counts as soon as it is free
            return min(self.concurrency, left)

        is_policy = isinstance(self.policy, Policy)
        if is_policy:
            self.policy.expect(live if self.deterministic else None)  # type: ignore[union-attr]
        tasks = [asyncio.create_task(one(i, job)) for i, job in enumerate(jobs)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if is_policy:
                self.policy.expect(None)  # type: ignore[union-attr]
        return [t for t in done if t is not None]

    def forget(self) -> None:
        """Free the states that :attr:`keep_states` has gathered."""
        for state in self._states.values():
            state.free()
        self._states.clear()

    def close(self) -> None:
        self.forget()
        for envs in self._envs.values():
            for env in envs:
                _close(env)
        self._envs.clear()
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    async def _play(self, job: Job) -> Trajectory:
        kind = (job.task.env, job.task.kwargs)
        idle = self._envs.setdefault(kind, [])
        try:
            env = idle.pop() if idle else self._make(job.task)
        except UserError:
            raise
        except Exception as error:
            trajectory = Trajectory(job.id, job.task, job.seed, stop=StopReason.ENV_ERROR, group=job.group)
            trajectory.error = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            self._report(trajectory, traceback.format_exc())
            return trajectory
        try:
            agent, state = self._agent(kind, env), self._state(job.stem)
            episode = Episode(job, env, self.policy, agent, self.limits, state, self.keep_states)
            trajectory = await episode.play()
        except BaseException:  # cancelled, or the user must mend something
            _close(env)
            raise
        if trajectory.trusted:
            idle.append(env)
        else:  # it may be in any state
            _close(env)
            self._report(trajectory, episode.trace)
        self._keep(episode.states, trajectory)
        for turn in trajectory.turns[job.stem.turn if job.stem else 0 :]:
            self.env_seconds += turn.seconds.get("env", 0.0)
            self.agent_seconds += turn.seconds.get("agent", 0.0)
        return trajectory

    def _make(self, task: Task) -> Any:
        if self.workers:
            if self._pool is None:
                from agentrl.rollout.process import WorkerPool

                self._pool = WorkerPool(self.workers, self.limits.step_seconds)
            return self._pool.make(task.env, **dict(task.kwargs))
        env = registry.make(task.env, **dict(task.kwargs))
        if env.max_turns is None:
            env.max_turns = registry.spec(task.env).max_turns
        return env

    def _state(self, stem: Stem | None) -> Snapshot | None:
        return self._states.get((stem.trajectory.id, stem.turn)) if stem else None

    def _keep(self, states: dict[int, Snapshot], trajectory: Trajectory) -> None:
        for turn, state in states.items():
            if trajectory.trusted:
                self._states[trajectory.id, turn] = state
            else:
                state.free()

    def _agent(self, kind: tuple[str, Any], env: Any) -> ChatAgent | None:
        if not isinstance(self.policy, Policy):
            return None
        if kind not in self._agents:
            self._agents[kind] = ChatAgent(self.policy.tokenizer, self.agent, env.instructions, env.tools)
        return self._agents[kind]

    def _report(self, trajectory: Trajectory, trace: str | None) -> None:
        self.failures[trajectory.stop.value] = self.failures.get(trajectory.stop.value, 0) + 1
        if not self._told:
            self._told = True
            where = f"{trajectory.task.key} (episode {trajectory.id}, turn {len(trajectory.turns)})"
            print(f"first failed episode: {trajectory.stop.value} in {where}\n{trace or ''}", file=sys.stderr)


def _close(env: Any) -> None:
    """An environment that cannot even be closed must not take the run with it."""
    try:
        env.close()
    except Exception as error:
        print(f"{type(env).__name__}.close failed: {type(error).__name__}: {error}", file=sys.stderr)


async def preflight(task: Task, seed: int = 0) -> float:
    """Build one environment and reset it; seconds it took. Raises UserError naming what went wrong."""
    begin = time.perf_counter()
    try:
        env = registry.make(task.env, **dict(task.kwargs))
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{task.env} cannot be built: {type(error).__name__}: {error}") from error
    try:
        observation, _ = await asyncio.wait_for(env.areset(seed=seed, options={"task": task.id}), 120)
        if not env.observation_space.contains(observation):
            raise UserError(f"{task.env}: reset returned {type(observation).__name__}, not text or messages")
    except UserError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{task.env} fails in reset (task {task.id!r}): {line}") from error
    finally:
        env.close()
    return time.perf_counter() - begin
