"""What an iteration plays: order, draws, state, and what is refused."""

import copy

import pytest

from agentrl.errors import UserError
from agentrl.trainers.sampling import TaskSource, registry

from .conftest import World, play, sampling


def test_without_methods_every_task_gets_its_group(tasks):
    world = World()
    groups = play(sampling(), tasks, world)
    assert [len(group) for group in groups] == [8] * 4
    assert len(world.waves) == 1
    assert len({t.seed for group in groups for t in group}) == 32
    assert [t.id for t in groups[1]] == [f"000000-001-{r:03d}" for r in range(8)]


def test_every_task_comes_once_a_pass(tasks):
    made = sampling()
    seen = [group.task.id for iteration in range(5) for group in play(made, tasks, World(1), iteration)]
    assert sorted(seen) == list(range(20))
    again = [group.task.id for iteration in range(5, 10) for group in play(made, tasks, World(1), iteration)]
    assert sorted(again) == list(range(20))
    assert seen != again


def test_the_same_task_twice_is_played_with_other_draws(tasks):
    groups = play(sampling(tasks=8), tasks[:3], World())
    seeds = [t.seed for group in groups for t in group]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("config", [{}, {"brancher": "arpo"}])
def test_a_resumed_run_plays_the_same(tasks, config):
    made, world = sampling(**config), World()
    play(made, tasks, world)
    saved = copy.deepcopy(made.state)
    expected = [(t.id, t.seed, t.parent) for group in play(made, tasks, world, 1) for t in group]
    fresh = sampling(**config)
    fresh.state = saved
    assert [(t.id, t.seed, t.parent) for group in play(fresh, tasks, World(), 1) for t in group] == expected
    assert fresh.episodes == 64


def test_misspelt_methods_and_options_are_named():
    with pytest.raises(UserError, match=r"arop.*arpo"):
        sampling(brancher="arop")
    with pytest.raises(UserError, match=r"option of brancher arpo.*beem.*beam"):
        sampling(brancher={"arpo": {"beem": 2}})
    with pytest.raises(UserError, match="option beam of brancher arpo"):
        sampling(brancher={"arpo": {"beam": 0}})
    with pytest.raises(UserError, match="written as a name"):
        sampling(source={"uniform": {}, "x": {}})


def test_a_method_of_the_users_own(tasks, monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})

    @registry.register("source", "first")
    class First(TaskSource):
        def next(self, n, tasks, played, setting):
            from agentrl.trainers.sampling import Start

            return [Start(tasks[0])] * n

    groups = play(sampling(source="first"), tasks, World())
    assert {group.task.id for group in groups} == {0}
    with pytest.raises(UserError, match="taken"):
        registry.register("source", "uniform")(First)
