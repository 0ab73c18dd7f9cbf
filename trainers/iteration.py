"""One iteration: tasks, rollouts, credit, update."""

from __future__ import annotations

import asyncio
import copy
import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentrl import store
from agentrl.errors import UserError
from agentrl.policies.base import Learning
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.seeds import derive
from agentrl.trainers import credit, memory, passes
from agentrl.trainers.ahead import Ahead
from agentrl.trainers.batching import samples_of
from agentrl.trainers.credit import TurnTable, ledger
from agentrl.trainers.demos import Demos
from agentrl.trainers.interrupts import Interrupts
from agentrl.trainers.journal import Journal
from agentrl.trainers.meter import Meter
from agentrl.trainers.metrics import branch_metrics, environment_metrics, episode_metrics, lag_metrics
from agentrl.trainers.progress import Observer, Phases
from agentrl.trainers.recipe import Recipe, RolloutConfig
from agentrl.trainers.record import Record
from agentrl.trainers.sampling import Sampling
from agentrl.trainers.scorers import Scorers
from agentrl.trainers.spares import fill, with_spares
from agentrl.trainers.stream import Credited, Stream
from agentrl.trainers.update import Learner
from agentrl.trainers.values import teach
from agentrl.trainers.whole_history import WholeHistory
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
    policy: Learning
    sampling: Sampling
    scorers: Scorers
    finished: Journal  # and not trained on yet; none where batches are fixed
    demos: Demos | None = None
    whole: WholeHistory | None = None
    interrupts: Interrupts = field(default_factory=Interrupts)

    def __post_init__(self) -> None:
        config = self.recipe.rollout
        self.ahead = Ahead(self._rollouts, config.staleness, self.recipe.iterations) if config.staleness else None
        self.meter = Meter(self.rollout, self.policy)
        self._asked: dict[int, int] = {}  # groups that the run had asked for when an iteration began

    def close(self) -> None:
        if self.ahead is not None:
            self.ahead.close()

    def run(self, iteration: int, state: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Metrics, and the state of credit and sampling after it, which checkpoints save.

        Ctrl-C is held back from where weights begin to move; whoever has counted the iteration releases it.
        """
        recipe, rollout, learner, policy = self.recipe, self.rollout, self.learner, self.policy
        begin = time.perf_counter()
        self.observer.phase("rollout", recipe.rollout.tasks * recipe.rollout.group)
        with self.phases("rollout") as rolled, memory.phase("the rollout", memory.SAMPLING):
            streamed: Credited | None = None
            if self.ahead is not None:
                made, dropped = self.ahead.take(iteration)
            elif recipe.rollout.stream:
                self.meter.start()
                streamed = Credited(recipe, state["credit"], iteration)
                self.interrupts.hold()
                with Stream(functools.partial(self._rollouts, iteration)) as groups:
                    coming = streamed.samples(groups, lambda group: bool(usable([group], recipe.rollout)))
                    updated = learner.stream(coming, iteration / recipe.iterations)
                    made, dropped = groups.played
            else:
                self.meter.start()
                made, dropped = asyncio.run(self._rollouts(iteration))
            spent = self.meter.read()
        fresh = [*made, *dropped]
        played = [t for group in made for t in group]
        learnt, aside = self.sampling.replayed(made, iteration, self._stored)
        self.sampling.observe(fresh)
        with self.phases("store"):
            name = f"{iteration:06d}"
            store.write(self.record.trajectories, name, [*learnt, *dropped, *aside], iteration=iteration)
        table = TurnTable.from_groups(usable(learnt, recipe.rollout), recipe.anchor)
        if not len(table):
            raise UserError(f"no episode of iteration {iteration} could be used: {rollout.failures}")
        kept = {t.id: t for group in learnt for t in group}
        ordered = [kept[id] for id in table.ids]
        self.interrupts.hold()  # scorers learn too
        with self.phases("scorers"):
            table, told = self.scorers.fill(table, ordered, iteration)
        self.observer.phase("update", 0)
        with self.phases("credit"):
            given = credit.assign(table, recipe.rewards, recipe.credit, state["credit"])
            ledger.write(self.record.credit, f"{iteration:06d}", given)
            samples = samples_of(ordered, given.advantages, table.start.tolist(), iteration)
            if given.token_advantages is not None:
                for sample in samples:
                    where, number = sample.numbered(table.first_token)
                    sample.advantages[where] = given.token_advantages[number]
            if self.scorers.plan.teacher:
                told["value"] = teach(samples, given.table, self.scorers.plan.teacher)
            if self.whole is not None:
                self.whole.fill(samples, ordered, table.start.tolist(), learner)
        segments, lags = len(samples), lag_metrics(samples)
        with self.phases("update") as trained:
            seed = derive(recipe.seed, "minibatches", iteration)
            if self.demos is not None:
                samples = self.demos.mixed(samples, derive(recipe.seed, "demos", iteration))
            if streamed is None:
                if self.ahead is None:
                    policy.rest()
                updated = learner.update(samples, seed, iteration / recipe.iterations)
                passes.write(self.record.passes, f"{iteration:06d}", samples, table)
            else:
                streamed.check(given)
        rollout.training_seconds += trained()
        with self.phases("sync"):
            take = functools.partial(policy.update, learner.weights(), iteration + 1)
            take() if self.ahead is None else self.ahead.call(take)
        counters = spent.counters
        metrics: dict[str, Any] = {
            "iteration": iteration,
            "episodes": self.sampling.episodes,
            **episode_metrics(played),
            "environments": environment_metrics(fresh),
            "segments_per_episode": segments / len(ordered),
            "seconds": time.perf_counter() - begin,
            "tokens_per_second": counters.sampled_tokens / max(1e-9, spent.seconds),
            "failures": self.meter.failures(),
            "policy": {
                "prefill_ratio": counters.prefill_tokens / max(1, counters.new_tokens),
                "padding_share": counters.padding_share,
                "seconds": counters.seconds,
            },
            "branches": branch_metrics(played),
            "dropped_groups": len(dropped),
            "replayed": len(aside),
            "credit": given.diagnostics,
            "lag": lags,
            "update": updated,
            **told,
            "time": {
                "rollout": rolled(),
                "sampling": spent.seconds,
                "policy": counters.seconds,
                "environment": spent.env_seconds,
                "agent": spent.agent_seconds,
            },
        }
        for t in (t for group in fresh for t in group):
            rollout.forget(t.id)
        self.finished.drop(iteration)
        if self.ahead is None:  # also those of continuations
            rollout.forget()
        sampled = copy.deepcopy(self.sampling.state) | {"asked": self._asked.get(iteration + 1, self.sampling.asked)}
        return metrics, {"credit": dict(given.state), "sampling": sampled, **self.scorers.state()}

    async def _rollouts(
        self, iteration: int, on_group: Callable[[Group], None] | None = None
    ) -> tuple[list[Group], list[Group]]:
        self._asked[iteration] = self.sampling.asked
        return await self.sampling.play(iteration, self.tasks, self._play, on_group)

    async def _play(self, jobs: Sequence[Job]) -> list[Trajectory]:
        """One trajectory a job: what was finished before a resume, or a spare's where the job's own broke."""
        config = self.recipe.rollout
        known = {t.id: t for job in jobs if (t := self.finished.get(job.id)) and t.seed == job.seed}
        left = [job for job in jobs if job.id not in known]
        asked = with_spares(left, config.spares)
        retries = 0 if config.broken == "fail" else config.retries
        played = fill(left, asked, await self.rollout.run(asked, self._done, retries))
        broken = next((t for t in played if not t.trusted), None)
        if broken is not None and config.broken == "fail":
            raise UserError(f"{broken.task.key} (episode {broken.id}) broke and rollout.broken is fail: {broken.error}")
        whole = known | {job.id: t for job, t in zip(left, played, strict=True)}
        return [whole[job.id] for job in jobs]

    def _stored(self, id: str) -> Trajectory:
        """An episode of an earlier iteration, which its id begins with."""
        groups = store.read(self.record.trajectories / f"{id.partition('-')[0]}.parquet")
        return next(t for group in groups for t in group if t.id == id)

    def _done(self, trajectory: Trajectory) -> None:
        if not self.recipe.rollout.deterministic and trajectory.trusted:
            self.finished.add(trajectory)
        self.observer.episode(trajectory)


def usable(groups: Sequence[Group], config: RolloutConfig) -> list[Group]:
    """Without the groups that broken episodes have left too small, or broken at all where that is asked for."""
    if config.broken == "retry":
        return [group for group in groups if all(t.trusted for t in group)]
    least = min(2, config.group)
    return [group for group in groups if sum(t.trusted for t in group) >= least]
