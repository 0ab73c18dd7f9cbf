"""Every task as often as every other: shuffled lists, one after the other."""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence

from agentrl.seeds import derive
from agentrl.trainers.sampling.base import Setting, Start, TaskSource
from agentrl.types import Task


class Uniform(TaskSource):
    """Each pass over the tasks has an order of its own, drawn from the run's seed: there is nothing to save."""

    def next(self, n: int, tasks: Sequence[Task], played: int, setting: Setting) -> list[Start]:
        return [Start(task) for task in cycled(n, tasks, played, setting.seed)]


def cycled(n: int, tasks: Sequence[Task], played: int, seed: int) -> list[Task]:
    """``n`` tasks from place ``played`` on of shuffled list after shuffled list."""
    places = [divmod(played + k, len(tasks)) for k in range(n)]
    return [tasks[_shuffled(seed, number, len(tasks))[index]] for number, index in places]


@functools.lru_cache(maxsize=4)
def _shuffled(seed: int, number: int, count: int) -> list[int]:
    order = list(range(count))
    random.Random(derive(seed, "tasks", number)).shuffle(order)
    return order
