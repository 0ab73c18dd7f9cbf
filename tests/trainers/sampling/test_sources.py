"""Task sources, budgets and filters against a scripted policy whose chance of success is known."""

import copy
import itertools
from collections import Counter

import pytest

from agentrl import store
from agentrl.trainers.sampling.knapsack import allocate, value
from agentrl.trainers.sampling.tally import success, tally
from agentrl.trainers.sampling.xrpo import half_width
from agentrl.types import Group, Task, Trajectory

from .conftest import World, play, sampling, turn


def chance(task):
    """Tasks 0-9 are always lost, 10-14 open, 15-19 always won."""
    return 0.0 if task.id < 10 else 0.5 if task.id < 15 else 1.0


def seen(made, tasks, iterations, world=None):
    world = world or World(2, chance)
    return [[group.task.id for group in play(made, tasks, world, i)] for i in range(iterations)]


ALL = ["uniform", "curriculum", {"curriculum": {"by": "length"}}, "prompt-replay", "vade"]


@pytest.mark.parametrize("source", ALL)
def test_every_source_gives_what_is_asked_for_and_goes_on_after_a_resume(tasks, source):
    made = sampling(source=source)
    before = seen(made, tasks, 6)
    assert all(len(ids) == 4 for ids in before)
    saved = copy.deepcopy(made.state)
    fresh = sampling(source=source)
    fresh.state = saved
    world = World(2, chance)
    assert [g.task.id for g in play(made, tasks, world, 6)] == [g.task.id for g in play(fresh, tasks, world, 6)]


@pytest.mark.parametrize("source", ALL)
def test_more_groups_than_tasks(tasks, source):
    assert all(len(ids) == 4 for ids in seen(sampling(source=source), tasks[:2], 3))


def test_curriculum_leaves_what_is_won_or_lost_for_sure():
    tasks = [Task("T-v0", i) for i in range(20)]
    ids = seen(sampling(source="curriculum"), tasks, 30)
    assert sorted(i for part in ids[:5] for i in part) == list(range(20))  # all are new
    late = Counter(i for part in ids[15:] for i in part)
    assert sum(late[i] for i in range(10, 15)) > 0.7 * sum(late.values())


def test_curriculum_by_length_takes_longer_tasks_when_the_short_ones_are_won(tasks):
    class Long(World):
        def one(self, job):
            self.length = 2 + job.task.id
            return super().one(job)

    made = sampling(source={"curriculum": {"by": "length", "start": 6, "step": 100, "high": 0.99}})
    world = Long(chance=lambda task: 1.0 if task.id != 3 else 0.5)
    ids = seen(made, tasks, 5, world)
    assert sorted(i for part in ids for i in part) == list(range(20))
    assert made.source.state["level"] > 6
    stuck = sampling(source={"curriculum": {"by": "length", "start": 6, "high": 1.0}})
    late = seen(stuck, tasks, 12, world)[6:]
    assert {i for part in late for i in part} <= set(range(5))


def test_prompt_replay_brings_back_what_is_open_after_a_pause_and_not_for_ever(tasks):
    made = sampling(source={"prompt-replay": {"cooldown": 2, "uses": 2}})
    ids = seen(made, tasks, 60)
    counts = Counter(i for part in ids for i in part)
    assert min(counts[i] for i in range(10, 15)) > max(counts[i] for i in (*range(10), *range(15, 20)))
    once = seen(sampling(source={"prompt-replay": {"cooldown": 3, "uses": 2}}), tasks, 5)  # not a whole pass
    for task in range(20):
        at = [i for i, part in enumerate(once) if task in part]
        assert len(at) <= 3
        assert all(later - before >= 3 for before, later in itertools.pairwise(at))


def test_vade_finds_the_tasks_whose_outcome_is_open(tasks):
    late = Counter(i for part in seen(sampling(source="vade"), tasks, 60)[30:] for i in part)
    assert sum(late[i] for i in range(10, 15)) > 0.5 * sum(late.values())
    assert len(late) > 5  # and still looks elsewhere


def test_knapsack_is_the_best_split(tasks):
    rates = [0.1, 0.5, 0.9]
    best = max(
        ((a, b, 12 - a - b) for a in range(2, 9) for b in range(2, 9) if 2 <= 12 - a - b <= 8),
        key=lambda split: sum(value(p, n) for p, n in zip(rates, split, strict=True)),
    )
    assert tuple(allocate(rates, 4, 2, 8)) == best
    assert allocate([0.5, 0.5], 3, 2, 2) == [2, 2]  # no room
    assert allocate([0.5], 1, 2, 8) == [1]


def test_knapsack_gives_to_hard_tasks_and_keeps_the_total(tasks):
    made = sampling(tasks=20, budget="knapsack")
    assert [len(group) for group in play(made, tasks, World(2, chance))] == [8] * 20
    groups = play(made, tasks, World(2, chance), 1)
    size = {group.task.id: len(group) for group in groups}
    assert sum(size.values()) == 160
    assert min(size[i] for i in range(10, 15)) > max(size[i] for i in range(15, 20)) == 2


def test_xrpo_spends_the_second_phase_where_returns_differ(tasks):
    made, world = sampling(tasks=20, budget={"xrpo": {"explore": 0.0}}), World(2, chance)
    groups = play(made, tasks, world)
    assert [len(wave) for wave in world.waves] == [80, 80]
    assert {len(group) for group in groups if not 10 <= group.task.id < 15} == {4}
    even = play(sampling(tasks=20, budget={"xrpo": {"explore": 1e9}}), tasks, World(2, chance))
    assert {len(group) for group in even} == {8}


def test_half_widths_agree_with_students_t():
    for n, quantile in ((6, 2.5706), (11, 2.2281), (31, 2.0423)):
        assert half_width(1.0, n) == pytest.approx(quantile / n**0.5, rel=0.01)


def test_dynamic_sampling_plays_on_until_enough_groups_are_mixed(tasks):
    import asyncio

    made, world = sampling(filter="dynamic"), World(2, chance)
    kept, dropped = asyncio.run(made.play(0, tasks, world.play))
    assert len(kept) == 4
    for group in kept:
        assert 0 < sum(t.success for t in group) < len(group)
    assert dropped
    assert all(len({t.success for t in group}) == 1 for group in dropped)
    assert len({group.id for group in (*kept, *dropped)}) == len(kept) + len(dropped)
    made.observe([*kept, *dropped])
    assert made.episodes == 8 * (len(kept) + len(dropped))
    seeds = [t.seed for group in (*kept, *dropped) for t in group]
    assert len(set(seeds)) == len(seeds)


def test_dynamic_sampling_gives_up_after_its_rounds(tasks):
    made, world = sampling(filter={"dynamic": {"rounds": 2}}), World(2, lambda task: 1.0)
    assert len(play(made, tasks, world)) == 12  # nothing was mixed: the iteration goes on with what it has
    assert len(world.waves) == 3


@pytest.fixture
def stored(tmp_path, tasks):
    groups = []
    for task in tasks[:4]:
        won, lost = (Trajectory(f"{task.id}{x}", task, 1, [turn() for _ in range(6)], success=x == "w") for x in "wl")
        groups.append(Group(task, f"old{task.id}", [won, lost]))
    store.write(tmp_path, "000000", groups)
    return tmp_path


def test_restarts_begin_in_the_middle_of_stored_successes(tasks, stored):
    made = sampling(source={"restarts": {"path": str(stored), "share": 0.5}})
    assert made.branches
    groups = play(made, tasks, World(8))
    for group in groups[:2]:
        assert len({(t.info["stem"], t.info["stem_turn"]) for t in group}) == 1
        first = group.trajectories[0]
        assert first.info["stem"].endswith("w")
        assert first.parent is None
        assert not any(t.trainable for t in first.turns[: first.shared])
        assert all(t.trainable for t in first.turns[first.shared :])
    assert all(t.whole for group in groups[2:] for t in group)


def test_restarts_do_not_come_back_to_what_is_settled(tasks, stored):
    made = sampling(source={"restarts": {"path": str(stored), "share": 1.0}})
    used = set()
    for i in range(8):
        groups = play(made, tasks, World(8, lambda task: 1.0), i)
        now = {
            (g.trajectories[0].info["stem"], g.trajectories[0].shared) for g in groups if not g.trajectories[0].whole
        }
        assert not now & used
        used |= now
    assert len(used) > 10


def test_restarts_from_late_turns_first(tasks, stored):
    made = sampling(tasks=20, source={"restarts": {"path": str(stored), "share": 1.0, "pick": "late-first"}})
    turns = [group.trajectories[0].shared for group in play(made, tasks, World(8))]
    assert sum(turns) / len(turns) > 4.5


def test_a_tally_counts_what_is_trusted_and_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr("agentrl.trainers.sampling.tally.KEPT", 2)
    state = {}
    for number in range(3):
        task = Task("T-v0", number)
        won = Trajectory("a", task, 0, [turn()] * 3, success=True)
        broken = Trajectory("b", task, 0, stop="env_error")
        broken.stop = type(won.stop).ENV_ERROR
        tally(state, [Group(task, "g", [won, won, broken, Trajectory("c", task, 0, [turn()])])])
    assert list(state.values()) == [[2, 3, 3]] * 2
    assert success(state, "T-v0#2") == pytest.approx(2 / 3)
    assert success(state, "T-v0#0") is None
