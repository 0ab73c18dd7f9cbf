"""An iteration's episodes: first phase, then whatever methods ask for once they have seen what was played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentrl.errors import UserError
from agentrl.rollout.episode import Job
from agentrl.seeds import derive
from agentrl.trainers.recipe import RolloutConfig
from agentrl.trainers.sampling.base import Brancher, Budget, Setting, Start, TaskSource
from agentrl.trainers.sampling.registry import bind
from agentrl.types import Group, Task, Trajectory

Play = Callable[[Sequence[Job]], Awaitable[list[Trajectory]]]


@dataclass
class Sampling:
    """What a run plays. ``tasks`` groups an iteration, ``size`` episodes a group."""

    source: TaskSource
    budget: Budget
    brancher: Brancher | None
    tasks: int
    size: int
    seed: int
    temperature: float = 1.0
    vocabulary: int = 2
    asked: int = field(default=0, init=False)  # groups that the run has asked for
    episodes: int = field(default=0, init=False)

    @classmethod
    def of(cls, config: RolloutConfig, seed: int) -> Sampling:
        """From a recipe. Raises UserError for what is misspelt or does not go together."""
        brancher = None if config.brancher is None else bind("brancher", config.brancher)
        if brancher is not None and config.budget != "equal":
            raise UserError("rollout.budget and rollout.brancher both say how many episodes a group gets: choose one")
        source, budget = bind("source", config.source), bind("budget", config.budget)
        return cls(source, budget, brancher, config.tasks, config.group, seed, config.temperature)

    @property
    def branches(self) -> bool:
        """Whether episodes will start from stems, so that environments must be able to go back."""
        return any(method.branches for method in self._methods.values())

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

    async def play(self, iteration: int, tasks: Sequence[Task], play: Play) -> list[Group]:
        """The groups of an iteration, each sorted by id. ``play`` plays jobs and gives trajectories in their order.

        The order of what is asked for depends on what was played only, never on when it ended.
        """
        setting = Setting(self.size, self.vocabulary, derive(self.seed, "sampling", iteration))
        starts = self.source.next(self.tasks, tasks, self.asked, Setting(self.size, self.vocabulary, self.seed))
        self.asked += len(starts)
        groups = [_Growing(self, iteration, k, start, starts[:k]) for k, start in enumerate(starts)]
        if self.brancher is None:
            counts = self.budget.counts(starts, setting)
        else:
            counts = [self.brancher.begin(group.setting) for group in groups]
        await _wave(groups, [[start] * n for start, n in zip(starts, counts, strict=True)], play)
        if self.brancher is None:
            asked = self.budget.more([group.made for group in groups], setting)
            await _wave(groups, asked, play)
        else:
            while any(asked := [self.brancher.more(group.made, group.setting) for group in groups]):
                await _wave(groups, asked, play)
        made = [group.made for group in groups]
        for method in self._methods.values():
            method.observe(made)
        self.episodes += sum(len(group) for group in made)
        return made

    @property
    def _methods(self) -> dict[str, TaskSource | Budget | Brancher]:
        found: dict[str, TaskSource | Budget | Brancher] = {"source": self.source, "budget": self.budget}
        return found | ({"brancher": self.brancher} if self.brancher is not None else {})


class _Growing:
    """A group while it is played."""

    def __init__(self, sampling: Sampling, iteration: int, number: int, start: Start, before: Sequence[Start]) -> None:
        self.made = Group(start.task, f"{iteration:06d}-{number:03d}")
        again = sum(other.task.key == start.task.key for other in before)  # the same task twice, with other draws
        self._seed: tuple[str | int, ...] = (sampling.seed, "rollout", iteration, start.task.key, *[again][:again])
        self.setting = Setting(sampling.size, sampling.vocabulary, derive(*self._seed, "branch"))
        self._number, self._temperature, self._asked = number, sampling.temperature, 0

    def job(self, start: Start) -> Job:
        r, self._asked = self._asked, self._asked + 1
        return Job(
            id=f"{self.made.id}-{r:03d}",
            task=start.task,
            seed=derive(*self._seed, r),
            group=self.made.id,
            key=(self._number, r),
            temperature=self._temperature,
            stem=start.stem,
        )


async def _wave(groups: Sequence[_Growing], asked: Sequence[Sequence[Start]], play: Play) -> None:
    jobs = [(group, group.job(start)) for group, starts in zip(groups, asked, strict=True) for start in starts]
    if not jobs:
        return
    for (group, _), trajectory in zip(jobs, await play([job for _, job in jobs]), strict=True):
        group.made.trajectories.append(trajectory)
