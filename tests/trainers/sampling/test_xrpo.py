"""XRPO's examples: tasks that nobody solved are shown how the most alike of the solved ones was."""

from __future__ import annotations

from agentrl.rollout.episode import Job
from agentrl.types import Task, Trajectory

from .conftest import World, play, sampling

SEEN = {0: "find the red key", 1: "find the red box", 2: "water all plants", 3: "find the red lamp"}


class Rooms(World):
    """Tasks 0 to 2 are won, 3 is lost; each begins with what it asks for."""

    def one(self, job: Job) -> Trajectory:
        t = super().one(job)
        t.turns[0].observation = SEEN[int(job.task.id)]
        for index, turn in enumerate(t.turns):
            turn.action = f"do {job.task.id}.{index}"
        return t


def hints(examples: int) -> tuple[list[Job], dict[int, set[str]]]:
    tasks = [Task("T-v0", i) for i in range(4)]
    made = sampling(tasks=4, group=4, budget={"xrpo": {"share": 0.5, "examples": examples}})
    world = Rooms(2, lambda task: float(task.id < 3))
    play(made, tasks, world, 0)
    before = [job for wave in world.waves for job in wave]
    world.waves.clear()
    play(made, tasks, world, 1)
    told: dict[int, set[str]] = {}
    for job in world.waves[1]:
        told.setdefault(int(job.task.id), set()).add(job.hint)
    assert not any(job.hint for job in world.waves[0])  # the first phase is without
    return before, told


def test_only_what_failed_as_a_whole_is_shown_the_nearest_that_was_solved() -> None:
    before, told = hints(2)
    assert not any(job.hint for job in before)  # nothing is solved yet
    (text,) = told.pop(3)
    assert text.count("Solved example:") == 2
    assert "water" not in text
    assert "Solution: do 0.0; do 0.1" in text
    assert all(found == {""} for found in told.values())


def test_without_examples_nothing_is_told() -> None:
    assert {text for found in hints(0)[1].values() for text in found} == {""}
