"""One episode: the loop in which an agent lets a policy act in an environment, and the one place that names its end."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import numpy as np

from agentrl.agents.chat import ChatAgent
from agentrl.agents.formats import ParseError
from agentrl.agents.remote import RemoteAgent, RemoteConversation
from agentrl.envs.core import Snapshot, beside, key_of
from agentrl.envs.spaces import Messages
from agentrl.errors import UserError
from agentrl.policies.base import AnyPolicy, MessagePolicy, Policy, Request, ScriptedPolicy, ScriptedTurn
from agentrl.rollout.failure import Stop, blaming
from agentrl.rollout.limits import Limits
from agentrl.rollout.stem import Stem, re_execute
from agentrl.rollout.teacher import Teacher
from agentrl.seeds import derive
from agentrl.types import Action, Observation, StopReason, Task, Trajectory, Turn, images_of, words_of

T = TypeVar("T")
_OBSERVATIONS = Messages()
MAX_CHARS = 1 << 22  # of one observation: beyond any model's window, and enough to fill a machine's memory


@dataclass(slots=True)
class Job:
    """One episode to play, from the beginning or from where ``stem`` ends.

    ``seed`` fixes its draws, and without a stem its environment's; ``key`` orders it among others. A ``spare`` one
    counts only where a sibling of its group breaks. ``hint`` is told after the first observation; ``guide`` is its
    first action of its own, taken in the policy's place.
    """

    id: str
    task: Task
    seed: int
    group: str = ""
    key: tuple[Any, ...] = ()
    temperature: float = 1.0
    stem: Stem | None = None
    hint: str = ""
    guide: Action | None = None
    spare: bool = False


@dataclass(slots=True)
class Episode:
    """``agent`` is None for a scripted policy. ``state``: the environment where the job's stem ends.

    With ``keep`` an environment that has exact snapshots is saved before every turn, in ``states`` by turn.
    """

    job: Job
    env: Any
    policy: AnyPolicy
    agent: ChatAgent | RemoteAgent | None
    limits: Limits
    state: Snapshot | None = None
    keep: bool = False
    teacher: Teacher | None = None
    states: dict[int, Snapshot] = field(default_factory=dict, init=False)
    trace: str | None = field(default=None, init=False)  # the traceback, where infrastructure failed
    turn: int = field(default=0, init=False)  # where it is, for those who watch
    doing: str = field(default="queue", init=False)  # queue, reset, policy, step, save, restore
    since: float = field(default_factory=time.perf_counter, init=False)

    async def play(self) -> Trajectory:
        trajectory = Trajectory(self.job.id, self.job.task, self.job.seed, group=self.job.group)
        begin = time.perf_counter() - (self.job.stem.seconds if self.job.stem else 0.0)
        try:
            await self._turns(trajectory)
        except Stop as stop:
            trajectory.stop, trajectory.error, self.trace = stop.reason, stop.error, stop.trace
            if stop.where:
                trajectory.info["failed_in"] = stop.where
        trajectory.info["seconds"] = time.perf_counter() - begin
        return trajectory

    async def _turns(self, trajectory: Trajectory) -> None:
        env, job, stem = self.env, self.job, self.job.stem
        observation = await (self._reset(trajectory) if stem is None else self._regrow(trajectory, stem))
        chat = self.agent.start(trajectory.world_seed) if self.agent else None
        if chat is not None:
            chat.resume(trajectory.turns)
        max_turns = self.limits.turns or env.max_turns
        rng = random.Random(job.seed)
        spent, own = trajectory.sampled_tokens, len(trajectory.turns)
        while True:
            if self.keep and env.snapshot_level == "exact":
                self.states[len(trajectory.turns)] = await self._env(lambda: env.in_thread(env.snapshot), "save")
            with blaming(StopReason.ENV_ERROR, "state_key"):
                key, told = key_of(env, observation), beside(env)
            self.turn = len(trajectory.turns)
            turn = Turn(observation, state_key=key, policy=self.policy.name, info=told)
            label = None if self.teacher is None else await self._label(self.teacher, turn)
            self._now("policy")
            if chat is not None and self.agent is not None:
                shown = await self._with_admissible(observation)
                if job.hint and not trajectory.turns:
                    shown = _with_hint(shown, job.hint)
                    trajectory.info["hint"] = job.hint
                if shown is not observation:
                    turn.info["shown"] = shown
                if stem is not None and stem.token and len(trajectory.turns) == stem.turn:
                    stem.begin(turn)
                taught = label if self.teacher is not None and self.teacher.acts(job.seed, self.turn) else None
                given = job.guide if job.guide is not None and self.turn == own else taught
                if given is not None:
                    self._demonstrate(turn, chat, shown, given)
                else:
                    await self._sample(turn, chat, shown, self.turn, spent)
                spent += len(turn.completion_ids)
            elif job.guide is not None and self.turn == own:
                turn.action, turn.policy = job.guide, "expert"
            else:
                await self._script(turn, rng, len(trajectory.turns))
            trajectory.turns.append(turn)
            if turn.action is None:
                observation, terminated, truncated = f"{turn.error}", False, False
                turn.valid = False
            else:
                observation, terminated, truncated = await self._act(turn, turn.action, trajectory)
            if terminated:
                raise Stop(StopReason.TERMINATED)
            cut: StopReason | None = None
            if truncated:
                cut = StopReason.TRUNCATED
            elif max_turns and len(trajectory.turns) >= max_turns:
                cut = StopReason.MAX_TURNS
            elif self.limits.episode_tokens and spent >= self.limits.episode_tokens:
                cut = StopReason.MAX_TOKENS
            if cut:  # a critic may be asked what would have followed
                shown = observation if truncated else await self._with_admissible(observation)
                trajectory.info["last_observation"] = shown
                raise Stop(cut)

    async def _reset(self, trajectory: Trajectory) -> Observation:
        job = self.job
        reset = await self._env(lambda: self.env.areset(seed=job.seed, options={"task": job.task.id}), "reset")
        with blaming(StopReason.ENV_INVALID, "reset"):
            observation, info = reset
            _check(observation, self.agent)
            trajectory.info |= {k: v for k, v in info.items() if isinstance(v, str | int | float | bool)}
            return observation  # type: ignore[no-any-return]

    async def _regrow(self, trajectory: Trajectory, stem: Stem) -> Observation:
        """Bring the environment to where the stem ends: by a snapshot, else by taking its actions again."""
        env, state = self.env, self.state
        stem.mark(trajectory)
        if state is not None:
            await self._env(lambda: env.in_thread(lambda: env.restore(state)), "restore")
        elif env.snapshot_level == "none":
            raise UserError(f"{self.job.task.env} cannot be brought back to an earlier turn (snapshot_level none)")
        else:
            with blaming(StopReason.ENV_ERROR, "restore"):
                difference = await re_execute(env, stem.trajectory, stem.turn, self._env)
            if difference is not None:
                raise Stop(StopReason.REPLAY_DIVERGED, f"{stem.trajectory.id}, {difference}"[:500])
        trajectory.info["restored"] = "replay" if state is None else "snapshot"
        return stem.observation

    async def _label(self, teacher: Teacher, turn: Turn) -> Action:
        return await self._env(lambda: teacher.label(self.env, turn), "expert")

    def _demonstrate(self, turn: Turn, chat: Any, shown: Observation, action: Action) -> None:
        """The expert takes the turn: its reply is no sample of the policy's, so it has no tokens."""
        assert self.agent is not None
        chat.prompt(shown)
        ids, text = self.agent.written(action)
        chat.reply(np.asarray(ids, np.int32), text)
        turn.action, turn.policy, turn.trainable = action, "expert", False

    async def _sample(self, turn: Turn, chat: Any, shown: Observation, index: int, spent: int) -> None:
        """``turn`` may hold the beginning of its reply already."""
        agent = self.agent
        if isinstance(agent, RemoteAgent):
            return await self._ask(agent, turn, chat, shown, index)
        begin = time.perf_counter()
        assert agent is not None
        policy = cast(Policy, self.policy)  # isinstance of a protocol asks for its every attribute
        turn.prompt_ids = chat.prompt(shown)
        turn.images = chat.images
        begun = len(turn.completion_ids)
        if len(turn.prompt_ids) + begun >= policy.window:
            raise Stop(StopReason.WINDOW)
        left = self.limits.episode_tokens - spent if self.limits.episode_tokens else self.limits.turn_tokens
        request = Request(
            np.concatenate([turn.prompt_ids, turn.completion_ids]),
            max(1, min(self.limits.turn_tokens, left) - begun),
            seed=derive(self.job.seed, "turn", index),
            temperature=self.job.temperature,
            stop=agent.stop,
            key=(*self.job.key, index),
            begun=begun,
            images=turn.images,
        )
        asked = time.perf_counter()
        with blaming(StopReason.POLICY_ERROR, "policy"):
            completion = await policy.generate(request)
            got = time.perf_counter()
            turn.completion_ids = np.concatenate([turn.completion_ids, completion.ids])
            turn.logprobs = np.concatenate([turn.logprobs, completion.logprobs])
            turn.entropies = np.concatenate([turn.entropies, completion.entropies])
            turn.versions = [*turn.versions, *((begun + first, version) for first, version in completion.versions)]
            turn.__post_init__()  # the record of tokens is whole now
        turn.text = agent.decode(turn.completion_ids)
        if completion.finish == "length":
            turn.info["cut"] = True
        try:
            turn.action = agent.parse(turn.text)
        except ParseError as error:
            turn.error = str(error)
        chat.reply(turn.completion_ids, turn.text)
        turn.seconds = {"policy": got - asked, "agent": asked - begin + time.perf_counter() - got}

    async def _ask(
        self, agent: RemoteAgent, turn: Turn, chat: RemoteConversation, shown: Observation, index: int
    ) -> None:
        """A turn of a policy of messages: no ids, so nobody can train on it."""
        begin = time.perf_counter()
        with blaming(StopReason.POLICY_ERROR, "policy"):
            said = await cast(MessagePolicy, self.policy).chat(
                chat.prompt(shown),
                agent.tools,
                max_tokens=self.limits.turn_tokens,
                temperature=self.job.temperature,
                stop=agent.stop,
                seed=derive(self.job.seed, "turn", index),
            )
        turn.seconds = {"policy": time.perf_counter() - begin}
        turn.text, turn.trainable = chat.heard(said), False
        turn.info |= {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
        turn.info |= {"cost": said.cost} | ({"cut": True} if said.cut else {})
        try:
            turn.action = agent.parse(turn.text)
        except ParseError as error:
            turn.error = str(error)

    async def _script(self, turn: Turn, rng: random.Random, index: int) -> None:
        seen = ScriptedTurn(self.env, turn.observation, rng, self.job.task.key, index, self.job.seed)
        with blaming(StopReason.POLICY_ERROR, "policy"):
            turn.action = await cast(ScriptedPolicy, self.policy).act(seen)
        turn.info |= seen.info

    async def _act(self, turn: Turn, action: Action, trajectory: Trajectory) -> tuple[Observation, bool, bool]:
        begin = time.perf_counter()
        step = await self._env(lambda: self.env.astep(action))
        turn.seconds["env"] = time.perf_counter() - begin
        with blaming(StopReason.ENV_INVALID, "step"):
            observation, reward, terminated, truncated, info = step
            _check(observation, self.agent)
            parts = info.get("rewards") or ({"reward": reward} if reward else {})
            turn.rewards = {name: float(part) for name, part in parts.items()}
            if not math.isfinite(turn.reward):
                raise ValueError(f"a reward must be finite, not {turn.rewards}")
            turn.valid = bool(info.get("valid", True))
            turn.tool_calls = list(info.get("tool_calls", ()))
            if scores := info.get("scores"):
                turn.info["scores"] = turn.info.get("scores", {}) | {k: float(v) for k, v in scores.items()}
                if not all(map(math.isfinite, turn.info["scores"].values())):
                    raise ValueError(f"scores must be finite, not {scores}")
            if terminated or truncated:
                trajectory.success = bool(info.get("success", trajectory.reward >= 1.0))
            return observation, bool(terminated), bool(truncated)

    async def _env(self, call: Callable[[], Awaitable[T]], doing: str = "step") -> T:
        self._now(doing)
        with blaming(StopReason.ENV_ERROR, doing):
            if type(self.env).blocking is False:
                return await call()
            try:
                return await asyncio.wait_for(call(), self.limits.step_seconds)
            except TimeoutError as error:
                raise TimeoutError(f"{error}" or f"{doing} took longer than {self.limits.step_seconds:g} s") from error

    def _now(self, doing: str) -> None:
        self.doing, self.since = doing, time.perf_counter()

    async def _with_admissible(self, observation: Observation) -> Observation:
        if self.agent is None or not self.agent.config.admissible or not isinstance(observation, str):
            return observation
        if not hasattr(self.env, "admissible_actions"):
            raise UserError(f"agent.admissible: {self.job.task.env} lists no admissible actions")
        env = self.env
        actions = await self._env(lambda: env.in_thread(env.admissible_actions), "admissible_actions")
        return observation + "\nYou can: " + ", ".join(map(str, actions))


def _with_hint(shown: Observation, hint: str) -> Observation:
    return f"{shown}\n\n{hint}" if isinstance(shown, str) else [*shown, {"role": "user", "content": hint}]


def _check(observation: Any, agent: ChatAgent | RemoteAgent | None) -> None:
    if not _OBSERVATIONS.contains(observation):
        raise TypeError(f"an observation is text or messages, not {type(observation).__name__}")
    size = len(words_of(observation)) + sum(map(len, images_of(observation)))
    if size > MAX_CHARS:
        raise ValueError(f"an observation of {size} characters; at most {MAX_CHARS} are taken")
    if isinstance(agent, ChatAgent):
        for image in agent.seen(observation):
            agent.vision.picture(image)
