"""Episodes of an environment under check, each step held against the protocol."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import Any, SupportsFloat

from agentrl.envs import registry
from agentrl.envs.core import Env, Expert, key_of
from agentrl.envs.random_actions import random_action
from agentrl.types import Action

Player = Callable[[Any, random.Random], Action]


class Broken(Exception):
    """The environment breaks the clause."""


class Skipped(Exception):
    """The clause says nothing about this environment."""


@dataclass
class Episode:
    """One played episode: ``seen`` is everything that must be the same when it is played again."""

    task: Any
    seed: int
    seen: list[Any] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    success: bool = False
    over: bool = False
    seconds: list[float] = field(default_factory=list)  # of the reset, then of each step

    @property
    def label(self) -> str:
        return f"task {self.task!r}, seed {self.seed}"


class Subject:
    """The environment under check, some of its tasks, and the episodes that several clauses look at."""

    def __init__(self, spec: registry.EnvSpec, kwargs: dict[str, Any], episodes: int) -> None:
        self.spec, self.kwargs, self.episodes = spec, kwargs, episodes

    @contextlib.contextmanager
    def env(self) -> Iterator[Any]:
        env = registry.make(self.spec.id, **self.kwargs)
        try:
            yield env
        finally:
            with contextlib.suppress(Exception):  # the clause `close` is about that
                env.close()

    @functools.cached_property
    def tasks(self) -> list[Any]:
        """As many tasks as episodes, spread over all splits."""
        splits = [s for s in registry.splits(self.spec, self.kwargs).values() if len(s)]
        spread = [[s[i * len(s) // self.episodes] for i in range(self.episodes)] for s in splits]
        return list(itertools.islice(dict.fromkeys(itertools.chain(*zip(*spread, strict=True))), self.episodes))

    @functools.cached_property
    def random(self) -> list[Episode]:
        return self.play(random_action)

    @functools.cached_property
    def expert(self) -> list[Episode]:
        with self.env() as env:
            if not isinstance(env, Expert):
                raise Skipped("it has no expert()")
        return self.play(lambda env, _: env.expert())

    @functools.cached_property
    def played(self) -> list[Episode]:
        """Random play, and the expert's where there is one: states near the start and far from it."""
        with contextlib.suppress(Exception):  # what the expert does wrong is its own clause's to tell
            return self.random + self.expert
        return self.random

    def play(self, player: Player) -> list[Episode]:
        with self.env() as env:
            return [play_one(env, task, seed, player) for seed, task in enumerate(self.tasks)]


def begin(env: Env, task: Any, seed: int) -> Episode:
    episode = Episode(task, seed)
    start = time.perf_counter()
    observation, info = env.reset(seed=seed, options={"task": task})
    episode.seconds.append(time.perf_counter() - start)
    if not env.observation_space.contains(observation):
        raise Broken(f"reset gives {observation!r:.80}, which is neither text nor messages ({episode.label})")
    _plain_info(info, episode)
    episode.seen.append((observation, key_of(env, observation)))
    return episode


def act(env: Env, episode: Episode, action: Action) -> None:
    start = time.perf_counter()
    result = env.step(action)
    episode.seconds.append(time.perf_counter() - start)
    observation, reward, terminated, truncated, info = result
    if not env.observation_space.contains(observation):
        raise Broken(f"step gives {observation!r:.80}, which is neither text nor messages ({episode.label})")
    if not isinstance(reward, SupportsFloat) or not math.isfinite(reward):
        raise Broken(f"step gives the reward {reward!r}, which is not a finite number ({episode.label})")
    if not isinstance(terminated, bool) or not isinstance(truncated, bool):
        raise Broken(f"terminated and truncated must be bool, not {terminated!r} and {truncated!r} ({episode.label})")
    _plain_info(info, episode)
    parts = info.get("rewards")
    if parts is not None and not math.isclose(sum(parts.values()), reward, abs_tol=1e-6):
        raise Broken(f"the named rewards {parts} do not add up to the reward {reward} ({episode.label})")
    episode.actions.append(action)
    episode.rewards.append(float(reward))
    episode.success = bool(info.get("success", False))
    episode.over = terminated or truncated
    key = key_of(env, observation)
    episode.seen.append((observation, key, reward, terminated, truncated, info.get("valid"), episode.success))


def play_one(env: Env, task: Any, seed: int, player: Player) -> Episode:
    episode = begin(env, task, seed)
    rng = random.Random(seed)
    while not episode.over and len(episode.actions) < _limit(env):
        act(env, episode, player(env, rng))
    return episode


def replay(env: Env, old: Episode) -> Episode:
    episode = begin(env, old.task, old.seed)
    for action in old.actions:
        act(env, episode, action)
    return episode


def same(old: Episode, new: Episode, when: str) -> None:
    for turn, (a, b) in enumerate(zip(old.seen, new.seen, strict=True)):
        if a != b:
            part = next(i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
            what = ("observation", "state key", "reward", "terminated", "truncated", "valid", "success")[part]
            raise Broken(f"{when}, the {what} of turn {turn} is {b[part]!r:.60}, not {a[part]!r:.60} ({old.label})")


def _limit(env: Env) -> int:
    assert env.max_turns is not None  # make() sets it
    return env.max_turns


def _plain_info(info: Any, episode: Episode) -> None:
    if not isinstance(info, dict):
        raise Broken(f"info must be a dictionary, not {info!r:.80} ({episode.label})")
    try:
        json.dumps(info, default=_plain_record)
    except (TypeError, ValueError) as error:
        raise Broken(f"info must hold plain data: {error} ({episode.label})") from None


def _plain_record(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"not {type(value).__name__}")
