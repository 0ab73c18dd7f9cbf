"""The rollout engine against two loops of our own: ``python benchmarks/rollout.py tail | overhead [--out FILE.json]``.

``tail``: environments wait, 1% of their steps for 50 times the median. The lock-step loop generates for all live
episodes together, steps their environments in a thread pool and waits for the last one before it goes on; finished
episodes are replaced at the barrier. It has the same policy, agent, seeds and number of episodes at once: only the
barrier differs. It is our own loop, not another library's.

``overhead``: environments answer at once. The bare loop is one coroutine an episode and nothing else: no deadlines, no
records of failures, no timings.

``bound`` is what waiting alone would allow: the lock-step loop's waits (the longest of each round, summed) over the
least time in which as many places can do the same waits. Where tokens are sampled, sampling comes on top of both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import waiting

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.agents.formats import ParseError
from agentrl.envs import registry
from agentrl.policies.base import Policy, Request, ScriptedTurn
from agentrl.policies.load import load_policy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.rollout.limits import Limits
from agentrl.seeds import derive
from agentrl.types import Task

LIMITS = Limits(turns=20, turn_tokens=24, step_seconds=60.0)


@dataclass
class Player:
    """One episode by hand: what both loops share."""

    job: Job
    env: Any
    policy: Any
    agent: ChatAgent | None
    turn: int = 0
    waits: list[float] = field(default_factory=list)

    def reset(self) -> None:
        self.observation, _ = self.env.reset(seed=self.job.seed, options={"task": self.job.task.id})
        self.chat = self.agent.start() if self.agent else None
        self.rng = random.Random(self.job.seed)

    async def act(self) -> None:
        if self.agent is None or self.chat is None:
            seen = ScriptedTurn(self.env, self.observation, self.rng, self.job.task.key, self.turn, self.job.seed)
            self.action = await self.policy.act(seen)
            return
        seed = derive(self.job.seed, "turn", self.turn)
        key = (*self.job.key, self.turn)
        prompt = self.chat.prompt(self.observation)
        done = await self.policy.generate(Request(prompt, LIMITS.turn_tokens, seed, stop=self.agent.stop, key=key))
        text = self.agent.decode(done.ids)
        try:
            self.action = self.agent.parse(text)
        except ParseError as error:
            self.action = None
            self.observation = f"{error}"
        self.chat.reply(done.ids, text)

    def step(self) -> bool:
        """Whether the episode is over."""
        self.turn += 1
        over = False
        if self.action is not None:
            begin = time.perf_counter()
            self.observation, _, terminated, truncated, _ = self.env.step(self.action)
            self.waits.append(time.perf_counter() - begin)
            over = terminated or truncated
        return over or self.turn >= LIMITS.turns


def agents(policy: Any, config: AgentConfig, env: Any) -> ChatAgent | None:
    return ChatAgent(policy.tokenizer, config, env.instructions, env.tools) if isinstance(policy, Policy) else None


async def lock_step(jobs: list[Job], policy: Any, config: AgentConfig, places: int) -> list[list[float]]:
    """Every round's environment waits."""
    waiting, rounds = deque(jobs), []
    live: list[Player] = []
    free = [registry.make(jobs[0].task.env, **dict(jobs[0].task.kwargs)) for _ in range(places)]
    agent = agents(policy, config, free[0])
    with ThreadPoolExecutor(places) as pool:
        while waiting or live:
            fresh = []
            while waiting and len(live) + len(fresh) < places:
                fresh.append(Player(waiting.popleft(), free.pop(), policy, agent))
            list(pool.map(Player.reset, fresh))
            live += fresh
            await asyncio.gather(*(player.act() for player in live))
            over = list(pool.map(Player.step, live))
            rounds.append([player.waits[-1] for player in live if player.waits])
            free += [player.env for player, done in zip(live, over, strict=True) if done]
            live = [player for player, done in zip(live, over, strict=True) if not done]
    return rounds


async def bare(jobs: list[Job], policy: Any, config: AgentConfig, places: int) -> int:
    """One coroutine an episode; the number of turns."""
    free = [registry.make(jobs[0].task.env, **dict(jobs[0].task.kwargs)) for _ in range(places)]
    agent = agents(policy, config, free[0])
    gate = asyncio.Semaphore(places)
    turns = 0

    async def one(job: Job) -> None:
        nonlocal turns
        async with gate:
            player = Player(job, free.pop(), policy, agent)
            player.reset()
            over = False
            while not over:
                await player.act()
                over = player.step()
            turns += player.turn
            free.append(player.env)

    await asyncio.gather(*(one(job) for job in jobs))
    return turns


def make_jobs(env: str, count: int, kwargs: dict[str, Any]) -> list[Job]:
    ids = registry.split(registry.resolve(env).spec, "train", kwargs)[:count]
    kind = tuple(sorted(kwargs.items()))
    return [Job(f"{i}", Task(env, id, kind), derive(0, env, i), key=(i,)) for i, id in enumerate(ids)]


def engine(jobs: list[Job], policy: Any, config: AgentConfig, places: int) -> tuple[float, Any]:
    rollout = Rollout(policy, config, LIMITS, places, deterministic=False)
    begin = time.perf_counter()
    try:
        played = asyncio.run(rollout.run(jobs))
    finally:
        rollout.close()
    assert all(t.trusted for t in played), rollout.failures
    return time.perf_counter() - begin, played


def tail(name: str, episodes: int, places: int, median: float) -> dict[str, Any]:
    loaded = load_policy(name, slots=places)
    config = AgentConfig.model_validate(loaded.agent or {})
    jobs = make_jobs("Waiting-v0", episodes, {"median": median, "size": "tiny"})
    took, played = engine(jobs, loaded.policy, config, places)
    begin = time.perf_counter()
    rounds = asyncio.run(lock_step(jobs, loaded.policy, config, places))
    locked = time.perf_counter() - begin
    waits = [sum(turn.seconds.get("env", 0.0) for turn in t.turns) for t in played]
    least = max(sum(sum(r) for r in rounds) / places, max(waits))
    return {
        "policy": name,
        "episodes": episodes,
        "places": places,
        "median_ms": 1000 * median,
        "turns": sum(len(t.turns) for t in played),
        "engine_s": took,
        "lock_step_s": locked,
        "engine_per_s": episodes / took,
        "lock_step_per_s": episodes / locked,
        "speedup": locked / took,
        "bound": sum(max(r, default=0.0) for r in rounds) / least,
    }


def overhead(name: str, episodes: int, places: int, repeats: int) -> dict[str, Any]:
    loaded = load_policy(name, slots=places)
    config = AgentConfig.model_validate(loaded.agent or {})
    jobs = make_jobs("agentrl/Household-v0", episodes, {"size": "tiny"})
    ours, theirs, turns = [], [], 0
    for _ in range(repeats):  # in turn, so that a busy machine hits both
        begin = time.process_time()
        turns = asyncio.run(bare(jobs, loaded.policy, config, places))
        theirs.append(time.process_time() - begin)
        begin = time.process_time()
        engine(jobs, loaded.policy, config, places)
        ours.append(time.process_time() - begin)
    return {
        "policy": name,
        "episodes": episodes,
        "turns": turns,
        "engine_cpu_s": min(ours),
        "bare_cpu_s": min(theirs),
        "overhead": min(ours) / min(theirs) - 1,
        "us_per_turn": 1e6 * (min(ours) - min(theirs)) / turns,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("tail", "overhead"))
    parser.add_argument("--episodes", type=int, default=256)
    parser.add_argument("--places", type=int, default=64, help="episodes at once")
    parser.add_argument("--median", type=float, default=0.05, help="seconds of the median step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=None, help="where the figures go as JSON")
    args = parser.parse_args()
    if args.what == "tail":
        rows = [tail(name, args.episodes, args.places, args.median) for name in ("small", "random")]
    else:
        rows = [overhead(name, args.episodes, args.places, args.repeats) for name in ("small", "random")]
    report = {"what": args.what, "python": platform.python_version(), "rows": rows}
    text = json.dumps(report, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    assert waiting.Waiting
    main()
