"""Periodic asynchrony: groups are learnt from as they become whole, while others still play, by the same weights.

Nothing lags: the weights change once an iteration, when all of it has been played and its gradient added up. What is
won is the time that training would have waited for the last episode. Credit must look at nothing beyond a group, and
the loss at nothing beyond a sample.

Source: Periodic Asynchrony, from its abstract.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from agentrl.errors import UserError
from agentrl.trainers import credit
from agentrl.trainers.ahead import cancel_others
from agentrl.trainers.batching import Sample, samples_of
from agentrl.trainers.credit import Credit, TurnTable
from agentrl.trainers.recipe import Recipe
from agentrl.types import Group

P = TypeVar("P")


class Stream(Generic[P]):
    """Iterates over groups in the order in which they end. ``play`` gets a function that takes each.

    A context: whoever leaves it early stops what is being played.
    """

    def __init__(self, play: Callable[[Callable[[Group], None]], Coroutine[Any, Any, P]]) -> None:
        self._groups: queue.SimpleQueue[Group | None] = queue.SimpleQueue()
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(play(self._groups.put))
        self._task.add_done_callback(lambda _: self._groups.put(None))
        self._thread = threading.Thread(target=self._run, name="rollouts", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Group]:
        while (group := self._groups.get()) is not None:
            yield group
        self._thread.join()
        self._task.result()  # raises what playing raised

    @property
    def played(self) -> P:
        """What ``play`` gave, once all groups have been taken."""
        return self._task.result()

    def __enter__(self) -> Stream[P]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        with contextlib.suppress(BaseException):  # the task keeps it for whoever iterates
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(cancel_others())


class Credited:
    """Samples of each group with the credit that it has alone, and :meth:`check`, that this is all there is to it."""

    def __init__(self, recipe: Recipe, state: dict[str, object], iteration: int) -> None:
        self.recipe, self.state, self.iteration = recipe, state, iteration
        self._given: dict[str, np.ndarray] = {}  # trajectory -> advantages of its turns

    def samples(self, groups: Iterable[Group], usable: Callable[[Group], bool]) -> Iterator[Sequence[Sample]]:
        for group in groups:
            if not usable(group):
                continue
            table = TurnTable.from_groups([group], self.recipe.anchor)
            if not len(table):
                continue
            given = credit.assign(table, self.recipe.rewards, self.recipe.credit, self.state)
            kept = {t.id: t for t in group}
            ordered = [kept[id] for id in table.ids]
            made = samples_of(ordered, given.advantages, table.start.tolist(), self.iteration)
            for sample in made:
                if given.token_advantages is not None:
                    where, number = sample.numbered(table.first_token)
                    sample.advantages[where] = given.token_advantages[number]
                sample.trajectory += len(self._given)
            self._given |= {id: given.of(id) for id in table.ids}
            yield made

    def check(self, given: Credit) -> None:
        """Raises UserError where the credit of all groups together is another."""
        for id, alone in self._given.items():
            if not np.allclose(alone, given.of(id), atol=1e-6):
                raise UserError(
                    "rollout.stream gives credit group by group, and this credit looks beyond a group: "
                    f"{id} would have {np.round(given.of(id), 4)}, and has {np.round(alone, 4)}"
                )
