"""AEPO, TreePO, APPO and TRACE: where they branch, on groups played by rule."""

import numpy as np
import pytest

from agentrl.trainers import credit
from agentrl.trainers.credit.allocation import aepo_budget
from agentrl.trainers.sampling.aepo import AEPO, _Streaks
from agentrl.trainers.sampling.appo import scores
from agentrl.trainers.sampling.arpo import entropy
from agentrl.trainers.sampling.base import Setting
from agentrl.types import Group, Task, Trajectory

from .conftest import World, play, sampling, turn

TASK = Task("T-v0", 0)


def parents(group):
    return [None if t.parent is None else int(t.parent[-3:]) for t in group]


def test_aepo_splits_a_group_by_the_entropies_of_its_probe(tasks):
    world = World(6)
    for group in play(sampling(brancher={"aepo": {"sharpness": 9.0, "base": 0.0}}), tasks, world):
        probe, setting = group.trajectories[0], Setting(8, 100)
        each = [entropy(t, 20, setting) for t in probe.turns]
        roots = aepo_budget(8, each[0], sum(each) / len(each), 9.0)[1]
        assert parents(group)[:roots] == [None] * roots
        assert None not in parents(group)[roots:]
        assert len(group) == 8
    assert len(world.waves[0]) == 4  # the probes alone


def test_aepo_without_a_probe_that_worked_begins_with_half():
    probe = Trajectory("a", TASK, 0)
    assert len(AEPO().more(Group(TASK, "g", [probe]), Setting(8, 100))) == 3


def test_streaks_are_a_paths_own_and_inherited():
    streaks = _Streaks()
    a, b = Trajectory("a", TASK, 0), Trajectory("b", TASK, 0)
    streaks.note(0, [a, a])
    child = Trajectory("c", TASK, 0, parent="a", branch_turn=1)
    assert [streaks.of(t, 1) for t in (a, b, child)] == [1, 0, 1]
    streaks.note(1, [child])
    assert [streaks.of(t, 2) for t in (a, b, child)] == [0, 0, 2]


def test_branching_in_a_row_is_held_back(tasks):
    """By the paper's rule with P = 1 less 0.5 for each branching in a row, above 0.6: never twice in a row."""
    config = {"aepo": {"rule": "paper", "roots": 1, "alpha": 1.0, "beta": 0.0, "penalty": 0.5, "tau": 0.6}}
    group = play(sampling(brancher=config), tasks, World(9))[0]
    assert [t.branch_turn for t in group] == [None, 1, 3, 3, 5, 5, 5, 5]
    config["aepo"]["penalty"] = 0.0
    group = play(sampling(brancher=config), tasks, World(9))[0]
    assert [t.branch_turn for t in group] == [None, 1, 2, 2, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"divergence": 1}, [None, 1, 2, 2, 3, 3, 3, 3]),
        ({"divergence": 2}, [None, None, 1, 1, 2, 2, 2, 2]),
        ({"divergence": 1, "factor": 4}, [None, 1, 1, 1, 2, 2, 2, 2]),
        ({"divergence": 1, "every": 2}, [None, 2, 4, 4, 6, 6, 6, 6]),
    ],
)
def test_treepo_grows_a_tree_of_fixed_shape(tasks, options, expected):
    for group in play(sampling(brancher={"treepo": options}), tasks, World(9)):
        assert [t.branch_turn for t in group] == expected
    table = credit.TurnTable.from_groups([group])
    assert np.isfinite(credit.assign(table, [], ["treepo"]).advantages).all()


def test_appo_branches_once_at_the_least_sure_tokens(tasks):
    world = World(4)
    for group in play(sampling(brancher="appo"), tasks, world):
        roots, branches = group.trajectories[:4], group.trajectories[4:]
        chosen = sorted((s for t in roots for s, _, _ in scores(t)), reverse=True)[:4]
        for t in branches:
            found = {(turn, token): s for s, turn, token in scores(next(r for r in roots if r.id == t.parent))}
            assert found[t.branch_turn, t.branch_token or 0] in chosen
    assert len(world.waves) == 2


def test_appo_knows_a_place_for_every_token_that_has_a_next():
    t = Trajectory("a", TASK, 0, [turn([1.0, 5.0]), turn([]), turn([2.0, 9.0])])
    places = [(index, token) for _, index, token in sorted(scores(t), reverse=True)]
    assert places == [(1, 0), (2, 1), (0, 1)]  # the last token of all has no next
    assert scores(Trajectory("b", TASK, 0)) == []


def test_appo_credit_goes_to_what_came_before_the_branch():
    rewards = {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0}
    made = {name: Trajectory(name, TASK, 0, [turn() for _ in range(3)]) for name in "ab"}
    for name, cut in (("c", None), ("d", 1)):
        made[name] = Trajectory(name, TASK, 0, [*made["a"].turns[:1], turn(), turn()], parent="a", branch_turn=1)
        made[name].branch_token = cut
    for name, t in made.items():
        t.turns[-1].rewards = {"goal": rewards[name]}
    table = credit.TurnTable.from_groups([Group(TASK, "g", list(made.values()))])
    given = credit.assign(table, [], [{"appo": {"std": False}}])
    assert given.of("a").tolist() == [0.5 + (0.5 - 0.5) / 2, 0.5 - 0.5, 0.5]
    assert given.of("b").tolist() == [-0.5] * 3
    assert not given.of("c").any()
    assert not given.of("d").any()


def test_trace_plays_whole_episodes_then_continuations(tasks):
    made, world = sampling(budget={"trace": {"continuations": 3}}), World(5)
    assert made.branches
    groups = play(made, tasks, world)
    assert sum(map(len, groups)) == 32
    assert sum(len(wave) for wave in world.waves[:1]) == 8
    for group in groups:
        roots = parents(group).count(None)
        assert len(group) == 4 * roots


def test_trace_continues_where_the_outcome_can_turn(tasks):
    """What is known: everything goes well from turn 2 on, and nothing is known of turn 1."""
    made = sampling(tasks=1, budget={"trace": {"continuations": 1, "strength": 1.0}})
    key = tasks[play(sampling(tasks=1), tasks, World())[0].task.id].key
    made.budget.state |= {f"{key} {key[5:]}/{t}": [50, 50] for t in (2, 3)}
    for group in play(made, tasks, World(4)):
        won = {t.id: t.success for t in group}
        branched = {(won[t.parent], t.branch_turn) for t in group if t.parent}
        assert (True, 2) not in branched
        assert (True, 3) not in branched


def test_trace_spreads_whole_episodes_by_what_is_known(tasks):
    made = sampling(tasks=2, budget={"trace": {"strength": 0.1}})
    keys = [group.task.key for group in play(sampling(tasks=2), tasks, World())]
    made.budget.state |= {keys[0]: [100, 100], keys[1]: [50, 100]}
    first, second = play(made, tasks, World())
    assert len(first) < len(second)


@pytest.mark.parametrize("method", ["aepo", "appo", "treepo", {"arpo": {"rule": "paper"}}, {"aepo": {"rule": "paper"}}])
def test_free_running_groups_grow_as_in_lock_step(tasks, method):
    def told(deterministic):
        made = sampling(brancher=method, deterministic=deterministic)
        return [(t.id, t.parent, t.branch_turn, t.seed) for group in play(made, tasks, World(7)) for t in group]

    assert told(True) == told(False)
    assert len(told(True)) == 32


class Labelled(World):
    """The expert would have said "right"; the policy did so in its first turn only."""

    def one(self, job):
        t = super().one(job)
        for index, each in enumerate(t.turns[t.shared :], t.shared):
            each.info["label"], each.action = "right", "right" if index == 0 else "wrong"
        return t


def test_scope_corrects_failures_at_their_first_bad_turn(tasks):
    made, world = sampling(brancher="scope"), Labelled(chance=lambda task: 0.5 if task.id % 2 else 0.0)
    assert made.labels
    for group in play(made, tasks, world):
        failed = [t.id for t in group.trajectories[:6] if not t.success]
        grown = [t for t in group if t.parent]
        assert [t.parent for t in grown] == failed[:2]
        assert all(t.branch_turn == 1 for t in grown)
        assert len(group) == 8
    guides = [job.guide for job in world.waves[1] if job.stem]
    assert set(guides) == {"right"}


def test_hints_are_told_where_all_failed_and_grow_until_one_succeeds(tasks, tmp_path):
    from agentrl import store

    demo = Trajectory("d", tasks[0], 0, [turn() for _ in range(4)], success=True)
    for index, each in enumerate(demo.turns):
        each.action = f"do {index}"
    store.write(tmp_path, "x", [Group(demo.task, "g", [demo])])

    class Hinted(World):
        def one(self, job):
            t = super().one(job)
            t.success = "do 1" in job.hint
            return t

    world = Hinted(chance=lambda task: 0.0)
    made = sampling(tasks=20, brancher={"hints": {"path": str(tmp_path)}})
    sizes = {group.task.id: len(group) for group in play(made, tasks, world)}
    assert sizes == {0: 12} | dict.fromkeys(range(1, 20), 8)
    assert [job.hint for wave in world.waves[1:] for job in wave] == [
        *["A solution begins: do 0."] * 2,
        *["A solution begins: do 0; do 1."] * 2,
    ]
    assert not made.branches
