"""Many episodes at once: environments are pooled, requests meet in the policy's batch, failures are data."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.agents.remote import RemoteAgent
from agentrl.envs import registry
from agentrl.envs.core import Snapshot
from agentrl.errors import UserError
from agentrl.policies.base import AnyPolicy, MessagePolicy, Policy
from agentrl.rollout.episode import Episode, Job
from agentrl.rollout.failure import classify
from agentrl.rollout.limits import Limits
from agentrl.rollout.pool import EnvPool
from agentrl.rollout.siblings import Siblings
from agentrl.rollout.status import Status
from agentrl.rollout.stem import Stem
from agentrl.rollout.teacher import Teacher
from agentrl.types import IntArray, StopReason, Task, Trajectory


@dataclass
class Rollout:
    """Plays jobs with one policy. ``concurrency`` episodes run at once, or as many as their environments allow
    (``Env.at_once``); the rest queue, oldest first.

    With ``keep_states`` environments that can are saved before every turn, so that jobs with a stem need not take its
    actions again; :meth:`forget` drops what is kept.

    With ``deterministic`` the policy waits at every step until all running episodes have asked: batches, and so
    weights, are then the same bit for bit from run to run on one machine and thread count.

    A ``teacher`` says in every turn what the environment's expert would do.

    ``failures`` counts every try that infrastructure broke, by ``reason/where``. ``say`` is given a line every few
    seconds; episodes that are stuck are named on stderr in any case.
    """

    policy: AnyPolicy
    agent: AgentConfig = field(default_factory=AgentConfig)
    limits: Limits = field(default_factory=Limits)
    concurrency: int = 128
    deterministic: bool = True
    workers: int = 0
    keep_states: bool = False
    teacher: Teacher | None = None
    recycle: int | None = None
    say: Callable[[str], None] | None = None
    failures: dict[str, int] = field(default_factory=dict, init=False)
    env_seconds: float = field(default=0.0, init=False)
    agent_seconds: float = field(default=0.0, init=False)
    training_seconds: float = field(default=0.0, init=False)  # for the status line; the trainer adds to it
    live: dict[str, Episode] = field(default_factory=dict, init=False)
    queued: int = field(default=0, init=False)
    finished: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.envs = EnvPool(self.limits.step_seconds, self.workers, self.recycle, self._unclosed)
        self._agents: dict[tuple[str, Any], ChatAgent] = {}
        self._states: dict[tuple[str, int], Snapshot] = {}  # by trajectory and turn
        self._told = False
        self._runs = 0  # that go on now
        # More episodes than the policy holds would push each other out of its cache turn by turn.
        self.concurrency = min(self.concurrency, getattr(self.policy, "slots", self.concurrency))
        self._gate = asyncio.Semaphore(self.concurrency)
        self._watch: asyncio.Task[None] | None = None

    async def run(
        self, jobs: Sequence[Job], on_done: Callable[[Trajectory], None] | None = None, retries: int = 0
    ) -> list[Trajectory]:
        """The trajectories in the order of the jobs, failed ones included (``retries`` times tried again).

        Several runs of one event loop share its places, the older one's jobs first. Spare jobs whose groups turned out
        whole without them are stopped and left out.
        """
        if not self._runs:
            self._bound(jobs)
        left = len(jobs)
        done: list[Trajectory | None] = [None] * len(jobs)
        groups: dict[str, Siblings] = {}

        async def one(index: int, job: Job, siblings: Siblings, number: int) -> None:
            nonlocal left
            try:
                trajectory = await self._admit(job, retries, lambda: siblings.spared(number))
            except asyncio.CancelledError:
                if siblings.trimmed:
                    return
                raise
            finally:
                left -= 1
            done[index] = trajectory
            self.finished += 1
            if on_done is not None:
                on_done(trajectory)

        def live() -> int:  # episodes that will ask: one that waits for a place counts as soon as it is free
            return min(self.concurrency, left)

        self._begin(live)
        self.queued += len(jobs)
        tasks = []
        for i, job in enumerate(jobs):
            siblings = groups.setdefault(job.group, Siblings())
            tasks.append(asyncio.create_task(one(i, job, siblings, len(siblings.tasks))))
            siblings.add(tasks[-1], job.spare)
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._end()
        return [t for t in done if t is not None]

    def next_prompt(self, trajectory: Trajectory) -> tuple[IntArray, tuple[str, ...]]:
        """What the policy would have been asked next, had the episode not been cut short: ids and their images."""
        task = trajectory.task
        kind = (task.env, task.kwargs)
        if kind not in self._agents:  # it was played before a resume
            env = registry.make(task.env, **dict(task.kwargs))
            self._agent(kind, env)
            env.close()
        chat = self._agents[kind].start(trajectory.world_seed)
        chat.resume(trajectory.turns)
        return chat.prompt(trajectory.info["last_observation"]), chat.images

    def forget(self, id: str | None = None) -> None:
        """Free the states that :attr:`keep_states` has gathered, of one trajectory or (none) of all."""
        for key in [key for key in self._states if id in (None, key[0])]:
            self._states.pop(key).free()

    def close(self) -> None:
        self.forget()
        self.envs.close()

    def _bound(self, jobs: Sequence[Job]) -> None:
        for env in {job.task.env for job in jobs}:
            with contextlib.suppress(UserError):  # it is told when the environment is built
                self.concurrency = min(self.concurrency, registry.at_once(env) or self.concurrency)

    def _begin(self, live: Callable[[], int]) -> None:
        self._runs += 1
        if self._runs > 1:
            return
        self._gate = asyncio.Semaphore(self.concurrency)  # of this event loop
        self.queued = self.finished = 0
        if isinstance(self.policy, Policy):
            self.policy.expect(live if self.deterministic else None)
        status = Status(self, self.say or (lambda line: None), _warn)
        self._watch = asyncio.create_task(status.watch())

    async def _end(self) -> None:
        self._runs -= 1
        await self.envs.settle()
        if self._runs:
            return
        if isinstance(self.policy, Policy):
            self.policy.expect(None)
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _admit(self, job: Job, retries: int, spared: Callable[[], bool]) -> Trajectory:
        """Play a job when there is a place, again where infrastructure broke it and the group needs it."""
        try:
            await self._gate.acquire()
        finally:
            self.queued -= 1
        try:
            for _ in range(retries + 1):
                trajectory = await self._play(job)
                if trajectory.trusted or spared():
                    break
            return trajectory
        finally:
            self._gate.release()

    async def _play(self, job: Job) -> Trajectory:
        try:
            env = await self.envs.lease(job.task)
        except UserError:
            raise
        except Exception as error:
            trajectory = Trajectory(job.id, job.task, job.seed, group=job.group)
            stop = classify(error, StopReason.ENV_ERROR, "build")
            trajectory.stop, trajectory.error, trajectory.info["failed_in"] = stop.reason, stop.error, "build"
            self._report(trajectory, stop.trace)
            return trajectory
        try:
            agent, state = self._agent((job.task.env, job.task.kwargs), env), self._state(job.stem)
            episode = Episode(job, env, self.policy, agent, self.limits, state, self.keep_states, self.teacher)
            self.live[job.id] = episode
            trajectory = await episode.play()
        except BaseException:  # cancelled, or the user must mend something
            self.envs.give_back(job.task, env, whole=False, busy=True)
            raise
        finally:
            self.live.pop(job.id, None)
        overdue = trajectory.stop is StopReason.ENV_TIMEOUT
        self.envs.give_back(job.task, env, trajectory.trusted, overdue)
        if not trajectory.trusted:
            self._report(trajectory, episode.trace)
        self._keep(episode.states, trajectory)
        for turn in trajectory.turns[job.stem.turn if job.stem else 0 :]:
            self.env_seconds += turn.seconds.get("env", 0.0)
            self.agent_seconds += turn.seconds.get("agent", 0.0)
        return trajectory

    def _state(self, stem: Stem | None) -> Snapshot | None:
        return self._states.get((stem.trajectory.id, stem.turn)) if stem else None

    def _keep(self, states: dict[int, Snapshot], trajectory: Trajectory) -> None:
        for turn, state in states.items():
            if trajectory.trusted:
                self._states[trajectory.id, turn] = state
            else:
                state.free()

    def _agent(self, kind: tuple[str, Any], env: Any) -> ChatAgent | RemoteAgent | None:
        if isinstance(self.policy, MessagePolicy):
            sees = bool(getattr(self.policy, "images", False))
            return RemoteAgent(self.agent, env.instructions, env.tools, sees)
        if not isinstance(self.policy, Policy):
            return None
        if kind not in self._agents:
            self._agents[kind] = ChatAgent(self.policy.tokenizer, self.agent, env.instructions, env.tools)
        return self._agents[kind]

    def _report(self, trajectory: Trajectory, trace: str | None) -> None:
        self._count(f"{trajectory.stop.value}/{trajectory.info.get('failed_in', 'restore')}")
        if not self._told:
            self._told = True
            where = f"{trajectory.task.key} (episode {trajectory.id}, turn {len(trajectory.turns)})"
            _warn(f"first failed episode: {trajectory.stop.value} in {where}\n{trace or ''}")

    def _unclosed(self, name: str, error: Exception) -> None:
        self._count(f"{classify(error, StopReason.ENV_ERROR, 'close').reason.value}/close")
        _warn(f"{name}.close failed: {type(error).__name__}: {error}".splitlines()[0])

    def _count(self, kind: str) -> None:
        self.failures[kind] = self.failures.get(kind, 0) + 1


def _warn(line: str) -> None:
    print(line, file=sys.stderr)


async def preflight(
    task: Task, seed: int = 0, branches: bool = False, check: Callable[[Any], None] | None = None
) -> float:
    """Build one environment and reset it; seconds it took. Raises UserError naming what went wrong.

    ``branches``: episodes will start from stems, which an environment must be able to come back to. ``check`` is
    shown the environment and raises where that cannot do what is wanted of it.
    """
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
        if branches and env.snapshot_level == "none":
            raise UserError(f"{task.env} cannot be brought back to an earlier turn (snapshot_level none): no branches")
        if check is not None:
            check(env)
    except UserError:
        raise
    except Exception as error:
        line = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"{task.env} fails in reset (task {task.id!r}): {line}") from error
    finally:
        env.close()
    return time.perf_counter() - begin
