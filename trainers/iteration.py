"""One iteration: tasks, rollouts, credit, update."""

from __future__ import annotations

import asyncio
import functools
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agentrl import store
from agentrl.errors import UserError
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.seeds import derive
from agentrl.trainers import credit
from agentrl.trainers.batching import samples_of
from agentrl.trainers.credit import ledger
from agentrl.trainers.progress import Observer, Phases
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.record import Record
from agentrl.trainers.update import Learner
from agentrl.types import Group, Task, Trajectory


@dataclass
class Iteration:
    """What every iteration of a run works with."""

    recipe: Recipe
    record: Record
    observer: Observer
    phases: Phases
    tasks: Sequence[Task]
    rollout: Rollout
    learner: Learner
    policy: TransformersPolicy

    def run(self, iteration: int, state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metrics, and the state of credit after it."""
        recipe, rollout, learner, policy = self.recipe, self.rollout, self.learner, self.policy
        begin = time.perf_counter()
        groups = self._jobs(iteration)
        jobs = [job for group in groups for job in group]
        self.observer.phase("rollout", len(jobs))
        failures, env_seconds, agent_seconds = dict(rollout.failures), rollout.env_seconds, rollout.agent_seconds
        policy.counters = type(policy.counters)()
        with self.phases("rollout") as rolled:
            played = asyncio.run(rollout.run(jobs, self.observer.episode, recipe.rollout.retries))
        by_group: dict[str, list[Trajectory]] = {}
        for trajectory in played:
            by_group.setdefault(trajectory.group, []).append(trajectory)
        made = [Group(group[0].task, group[0].group, by_group.get(group[0].group, [])) for group in groups]
        with self.phases("store"):
            store.write(self.record.trajectories, f"{iteration:06d}", made, iteration=iteration)
        self.observer.phase("update", 0)
        with self.phases("credit"):
            table = credit.TurnTable.from_groups(made, recipe.anchor)
            if not len(table):
                raise UserError(f"no episode of iteration {iteration} could be used: {rollout.failures}")
            given = credit.assign(table, recipe.rewards, recipe.credit, state)
            ledger.write(self.record.credit, f"{iteration:06d}", given)
            kept = {t.id: t for t in played}
            ordered = [kept[id] for id in given.table.ids]
            samples = samples_of(ordered, given.advantages, given.table.start.tolist())
        with self.phases("update"):
            seed = derive(recipe.seed, "minibatches", iteration)
            updated = learner.update(samples, seed, iteration / recipe.iterations)
        with self.phases("sync"):
            policy.update(learner.model.state_dict(), iteration + 1)
        counters = policy.counters
        trusted = [t for t in played if t.trusted]
        turns = [turn for t in trusted for turn in t.turns]
        seconds = time.perf_counter() - begin
        metrics: dict[str, Any] = {
            "iteration": iteration,
            "episodes": (iteration + 1) * len(jobs),
            "success": float(np.mean([t.success for t in trusted])),
            "return": float(np.mean([t.reward for t in trusted])),
            "turns": float(np.mean([len(t.turns) for t in trusted])),
            "tokens_per_turn": float(np.mean([len(turn.completion_ids) for turn in turns])),
            "invalid_share": float(np.mean([not turn.valid for turn in turns])),
            "segments_per_episode": len(samples) / len(ordered),
            "seconds": seconds,
            "tokens_per_second": counters.sampled_tokens / max(1e-9, rolled()),
            "success_by_type": _by_type(trusted),
            "stops": {s: sum(t.stop.value == s for t in played) for s in sorted({t.stop.value for t in played})},
            "failures": {k: v - failures.get(k, 0) for k, v in rollout.failures.items() if v > failures.get(k, 0)},
            "policy": {
                "prefill_ratio": counters.prefill_tokens / max(1, counters.new_tokens),
                "padding_share": counters.padding_share,
                "seconds": counters.seconds,
            },
            "credit": given.diagnostics,
            "update": updated,
            "time": {
                "rollout": rolled(),
                "policy": counters.seconds,
                "environment": rollout.env_seconds - env_seconds,
                "agent": rollout.agent_seconds - agent_seconds,
            },
        }
        return metrics, dict(given.state)

    def _jobs(self, iteration: int) -> list[list[Job]]:
        """The iteration's tasks come from a shuffled list, pass after pass: nothing to save for a resume."""
        recipe, tasks = self.recipe, self.tasks
        groups = []
        for k in range(recipe.rollout.tasks):
            number, index = divmod(iteration * recipe.rollout.tasks + k, len(tasks))
            task = tasks[_shuffled(recipe.seed, number, len(tasks))[index]]
            group = f"{iteration:06d}-{k:03d}"
            groups.append(
                [
                    Job(
                        id=f"{group}-{r:03d}",
                        task=task,
                        seed=derive(recipe.seed, "rollout", iteration, task.key, r),
                        group=group,
                        key=(k, r),
                        temperature=recipe.rollout.temperature,
                    )
                    for r in range(recipe.rollout.group)
                ]
            )
        return groups


@functools.lru_cache(maxsize=4)
def _shuffled(seed: int, number: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(derive(seed, "tasks", number)).shuffle(order)
    return order


def _by_type(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    kinds: dict[str, list[bool]] = {}
    for t in trajectories:
        kinds.setdefault(str(t.info.get("task_type", t.task.env)), []).append(t.success)
    return {kind: float(np.mean(kinds[kind])) for kind in sorted(kinds)}
