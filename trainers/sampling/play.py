"""An iteration's episodes: first phase, then whatever methods ask for once they have seen what was played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentrl.errors import UserError
from agentrl.rollout.episode import Job
from agentrl.seeds import derive
from agentrl.trainers.recipe import RolloutConfig
from agentrl.trainers.sampling.base import Brancher, Budget, Filter, Method, Replay, Setting, Start, TaskSource
from agentrl.trainers.sampling.mixture import Mixture
from agentrl.trainers.sampling.registry import bind
from agentrl.types import Group, Task, Trajectory

Play = Callable[[Sequence[Job]], Awaitable[list[Trajectory]]]


@dataclass
class Sampling:
    """What a run plays. ``tasks`` groups an iteration, ``size`` episodes a group."""

    source: TaskSource
    budget: Budget
    brancher: Brancher | None
    filter: Filter | None
    replay: Replay | None
    tasks: int
    size: int
    seed: int
    temperature: float = 1.0
    deterministic: bool = True
    vocabulary: int = 2
    asked: int = field(default=0, init=False)  # groups that the run has asked for
    episodes: int = field(default=0, init=False)

    @classmethod
    def of(cls, config: RolloutConfig, seed: int, weights: Mapping[str, float] | None = None) -> Sampling:
        """From a recipe. ``weights``: of several environments, by id.

        Raises UserError for what is misspelt or does not go together.
        """
        brancher = None if config.brancher is None else bind("brancher", config.brancher)
        if brancher is not None and config.budget != "equal":
            raise UserError("rollout.budget and rollout.brancher both say how many episodes a group gets: choose one")
        source, budget = bind("source", config.source), bind("budget", config.budget)
        if weights is not None and len(weights) > 1:
            source = Mixture(weights=dict(weights), sources={env: bind("source", config.source) for env in weights})
        filter = None if config.filter is None else bind("filter", config.filter)
        replay = None if config.replay is None else bind("replay", config.replay)
        tasks, size = config.tasks, config.group
        return cls(
            source, budget, brancher, filter, replay, tasks, size, seed, config.temperature, config.deterministic
        )

    @property
    def branches(self) -> bool:
        """Whether episodes will start from stems, so that environments must be able to go back."""
        return any(method.branches for method in self._all)

    @property
    def entropies(self) -> bool:
        """Whether the policy must say how sure it was of its tokens."""
        return any(method.entropies for method in self._all)

    @property
    def labels(self) -> bool:
        """Whether the environment's expert must be asked in every turn."""
        return any(method.labels for method in self._all)

    @property
    def state(self) -> dict[str, Any]:
        """Plain data that checkpoints save."""
        kept = {name: method.state for name, method in self._methods.items()}
        return kept | {"asked": self.asked, "episodes": self.episodes}

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        for name, method in self._methods.items():
            method.state = state[name]
        self.asked, self.episodes = state["asked"], state["episodes"]

    async def play(
        self, iteration: int, tasks: Sequence[Task], play: Play, on_group: Callable[[Group], None] | None = None
    ) -> tuple[list[Group], list[Group]]:
        """The groups of an iteration, each sorted by id: those to learn from, and those that a filter dropped.

        ``play`` plays jobs and gives trajectories in their order. What is asked for depends on what was played only,
        never on when it ended. ``on_group`` hears of each group when it is whole, where there is one phase only.
        """
        made: list[Group] = []
        dropped: list[Group] = []
        pruned: list[Group] = []
        for _ in range(1 + (self.filter.rounds if self.filter is not None else 0)):
            for group in await self._some(iteration, [*made, *dropped], tasks, self.tasks - len(made), play, on_group):
                kept, rest = self._pruned(group)
                (made if self.filter is None or self.filter.keeps(kept) else dropped).append(kept)
                pruned += rest
            if len(made) >= self.tasks:
                break
        if not made:
            made, dropped = dropped, []
        return made, [*dropped, *pruned]

    def _pruned(self, group: Group) -> tuple[Group, list[Group]]:
        """The group without what its brancher does not keep, and that in a group of its own."""
        kept = group.trajectories if self.brancher is None else self.brancher.keeps(group)
        ids = {t.id for t in kept}
        out = [replace(t, group=f"{group.id}-pruned") for t in group if t.id not in ids]
        return Group(group.task, group.id, kept), [Group(group.task, f"{group.id}-pruned", out)] if out else []

    async def _some(
        self,
        iteration: int,
        before: Sequence[Group],
        tasks: Sequence[Task],
        count: int,
        play: Play,
        on_group: Callable[[Group], None] | None,
    ) -> Sequence[Group]:
        """``count`` more groups, after those that the iteration has."""
        setting = Setting(self.size, self.vocabulary, derive(self.seed, "sampling", iteration))
        starts = self.source.next(count, tasks, self.asked, Setting(self.size, self.vocabulary, self.seed))
        self.asked += len(starts)
        had = [group.task.key for group in before] + [start.task.key for start in starts]
        groups = [
            _Growing(self, iteration, k, start, had[:k].count(start.task.key))
            for k, start in enumerate(starts, len(before))
        ]
        if on_group is not None:

            async def alone(group: _Growing, start: Start, n: int) -> None:
                await _wave([group], [[start] * n], play)
                on_group(group.made)

            counts = self.budget.counts(starts, setting)
            await asyncio.gather(*map(alone, groups, starts, counts))
        elif self.brancher is None:
            counts = self.budget.counts(starts, setting)
            await _wave(groups, [[start] * n for start, n in zip(starts, counts, strict=True)], play)
            await _wave(groups, self.budget.more([group.made for group in groups], setting), play)
        elif self.deterministic:
            await _grow(groups, starts, self.brancher, play)
        else:
            await asyncio.gather(
                *(_grow([group], [start], self.brancher, play) for group, start in zip(groups, starts, strict=True))
            )
        return [group.made for group in groups]

    def replayed(
        self, groups: Sequence[Group], iteration: int, load: Callable[[str], Trajectory]
    ) -> tuple[list[Group], list[Group]]:
        """The groups with stored episodes in some of them, and what had to make room, in groups of its own.

        A stored episode keeps its tokens, behaviour logprobs and versions, and comes under a new id in the place of the
        group's first. Asked before an iteration is observed.
        """
        if self.replay is None:
            return list(groups), []
        setting = Setting(self.size, self.vocabulary, derive(self.seed, "replay", iteration))
        learnt: list[Group] = []
        aside: list[Group] = []
        for group in groups:
            id = self.replay.choose(group, setting)
            if id is not None:
                out, *rest = group.trajectories
                known = load(id)
                back = replace(known, id=f"{group.id}-replay", group=group.id, info=known.info | {"replayed": id})
                aside.append(Group(group.task, f"{group.id}-aside", [replace(out, group=f"{group.id}-aside")]))
                group = Group(group.task, group.id, [back, *rest])
            learnt.append(group)
        return learnt, aside

    def observe(self, groups: Sequence[Group]) -> None:
        """Learn from an iteration. Called in the order of training, whichever iteration was played first."""
        for method in self._methods.values():
            method.observe(groups)
        self.episodes += sum(len(group) for group in groups)

    @property
    def _all(self) -> list[Method]:
        return [*self._methods.values(), *(self.source.sources.values() if isinstance(self.source, Mixture) else ())]

    @property
    def _methods(self) -> dict[str, Method]:
        optional = {"brancher": self.brancher, "filter": self.filter, "replay": self.replay}
        return {"source": self.source, "budget": self.budget} | {k: v for k, v in optional.items() if v is not None}


class _Growing:
    """A group while it is played."""

    def __init__(self, sampling: Sampling, iteration: int, number: int, start: Start, again: int) -> None:
        self.made = Group(start.task, f"{iteration:06d}-{number:03d}")
        # a task that comes again in the same iteration has other draws
        self._seed: tuple[str | int, ...] = (sampling.seed, "rollout", iteration, start.task.key, *[again][:again])
        self.setting = Setting(sampling.size, sampling.vocabulary, derive(*self._seed, "branch"))
        self._number, self._temperature, self._asked = number, sampling.temperature, 0
        self._stem = start.stem

    def job(self, start: Start) -> Job:
        r, self._asked = self._asked, self._asked + 1
        return Job(
            id=f"{self.made.id}-{r:03d}",
            task=start.task,
            seed=derive(*self._seed, r),
            group=self.made.id,
            key=(self._number, r),
            temperature=self._temperature,
            stem=start.stem or self._stem,
            hint=start.hint,
            guide=start.guide,
        )


async def _grow(groups: Sequence[_Growing], starts: Sequence[Start], brancher: Brancher, play: Play) -> None:
    """Waves, until the brancher asks for nothing more."""
    asked = [[start] * brancher.begin(group.setting) for group, start in zip(groups, starts, strict=True)]
    while any(asked):
        await _wave(groups, asked, play)
        asked = [brancher.more(group.made, group.setting) for group in groups]


async def _wave(groups: Sequence[_Growing], asked: Sequence[Sequence[Start]], play: Play) -> None:
    jobs = [(group, group.job(start)) for group, starts in zip(groups, asked, strict=True) for start in starts]
    if not jobs:
        return
    for (group, _), trajectory in zip(jobs, await play([job for _, job in jobs]), strict=True):
        group.made.trajectories.append(trajectory)
