"""ARPO: rounds, slots, draws and entropies, on groups played by rule."""

import pytest

from agentrl.trainers.sampling.arpo import ARPO, entropy
from agentrl.trainers.sampling.base import Setting
from agentrl.types import Group, Task, Trajectory

from .conftest import World, play, sampling, turn

TASK = Task("T-v0", 0)
ALWAYS = {"arpo": {"base": 1.0}}
NEVER = {"arpo": {"base": 0.0, "weight": 0.0}}


def test_half_are_roots_and_slots_are_used_up_in_order(tasks):
    world = World()
    groups = play(sampling(brancher=ALWAYS), tasks, world)
    for group in groups:
        assert [t.parent for t in group][:4] == [None] * 4
        assert [t.parent for t in group][4:] == [t.id for t in group][:4]
        assert [t.branch_turn for t in group][4:] == [1] * 4
    assert [len(wave) for wave in world.waves] == [16, 16]


def test_branches_are_branched_in_their_turn(tasks):
    group = play(sampling(brancher={"arpo": {"base": 1.0, "roots": 1}}), tasks, World(5))[0]
    parents = [None if t.parent is None else int(t.parent[-3:]) for t in group]
    assert parents == [None, 0, 0, 1, 0, 1, 2, 3]
    assert [t.branch_turn for t in group] == [None, 1, 2, 2, 3, 3, 3, 3]
    assert group.trajectories[3].turns[0] is group.trajectories[0].turns[0]


def test_a_wider_beam_branches_more_often_a_round(tasks):
    group = play(sampling(brancher={"arpo": {"base": 1.0, "roots": 1, "beam": 4}}), tasks, World(5))[0]
    assert [t.branch_turn for t in group] == [None, 1, 1, 1, 2, 2, 2, 2]


def test_slots_that_nothing_was_branched_for_become_fresh_episodes(tasks):
    world = World()
    groups = play(sampling(brancher=NEVER), tasks, world)
    assert all(t.parent is None for group in groups for t in group)
    assert [len(group) for group in groups] == [8] * 4
    assert [len(wave) for wave in world.waves] == [16, 16]
    assert len({t.seed for group in groups for t in group}) == 32


def test_failed_episodes_are_never_branched(tasks):
    groups = play(sampling(brancher=ALWAYS), tasks, World(fail=["-000", "-005"]))
    for group in groups:
        assert len(group) == 8
        assert not {t.parent for t in group} & {f"{group.id}-000", f"{group.id}-005"}


def test_an_episode_of_one_turn_has_nowhere_to_branch(tasks):
    assert all(t.parent is None for group in play(sampling(brancher=ALWAYS), tasks, World(1)) for t in group)


def group_of(*entropies: list[list[float]]) -> Group:
    trajectories = [Trajectory(f"t{i}", TASK, i, [turn(e) for e in own]) for i, own in enumerate(entropies)]
    return Group(TASK, "g", trajectories)


@pytest.mark.parametrize("rule", ["code", "paper"])
def test_the_rules_look_at_the_turn_before_or_after_the_answer(rule):
    """Entropy rises in turn 1 only: by the code that branches after it, by the paper before it."""
    group = group_of([[0.0], [9.0], [0.0], [0.0]])
    chosen = ARPO(rule=rule, base=0.0, weight=10.0, alpha=0.0, beta=1.0, tau=0.5)
    (start,) = chosen.more(group, Setting(2, 100, 1))
    assert start.stem.turn == (2 if rule == "code" else 1)


def test_entropies_are_of_the_first_tokens_in_units_of_the_vocabulary():
    some = turn([1.0, 2.0, 30.0])
    assert entropy(some, 2, Setting(1, 20)) == pytest.approx(3 / 2.995732)
    assert entropy(some, 2, Setting(1, 20), mean=True) == pytest.approx(1.5 / 2.995732)
    assert entropy(turn([]), 2, Setting(1, 20)) == 0.0


def test_a_branch_is_measured_against_its_own_first_turn():
    root = Trajectory("a", TASK, 0, [turn([0.0]), turn([9.0]), turn([9.0])])
    child = Trajectory("b", TASK, 1, [root.turns[0], turn([9.0]), turn([9.0])], parent="a", branch_turn=1)
    chosen = ARPO(base=0.0, weight=10.0)
    settings = [Setting(3, 100, seed) for seed in range(20)]
    assert {start.stem.trajectory.id for s in settings for start in chosen.more(Group(TASK, "g", [root]), s)} == {"a"}
    for setting in settings:  # the child's round 1 has gap 0: with base 0 it is never branched
        starts = chosen.more(Group(TASK, "g", [root, child]), setting)
        assert all(start.stem is None or start.stem.trajectory is root for start in starts)


def test_decisions_do_not_depend_on_what_else_is_played(tasks):
    alone = play(sampling(tasks=1, brancher="arpo"), tasks, World(9))[0]
    beside = play(sampling(tasks=4, brancher="arpo"), tasks, World(9))[0]
    assert [(t.parent, t.branch_turn, t.seed) for t in alone] == [(t.parent, t.branch_turn, t.seed) for t in beside]
