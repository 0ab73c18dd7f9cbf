"""Estimators against the exact values of KeyDoor, in the long run over many sampled groups.

Each claim is about an expectation, given state, turns left and action: an estimator's mean error must vanish within
five standard errors wherever there is enough data. Groups are independent of each other and their trajectories not: the
standard error comes from sums over groups. Estimators that are wrong on purpose fail the same check.
"""

import random
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from agentrl.envs.keydoor.values import exact_values, mixed_policy
from agentrl.envs.keydoor.world import LIMIT, advance, world_of
from agentrl.trainers.credit import TurnTable, assign, joint

TASK = "row5-start2-key1-door3-goal5"
GAMMA = 0.9
GROUPS, SIZE = 3000, 4
ENOUGH = 300  # groups: fewer tell little, and their mean is not yet normally distributed
SIGMAS = 5


def play(world, policy, rng):
    """One episode as (state, turns left, action, reward)."""
    state, turns = world.first, []
    for left in range(LIMIT, 0, -1):
        action = rng.choices(*policy[state])[0]
        after = advance(world, state, action) or state
        turns.append((state, left, action, float(after.room == world.goal)))
        if after.room == world.goal:
            break
        state = after
    return turns


@pytest.fixture(scope="module")
def sample():
    """Episodes of a fixed random policy in one table, with the cell (state, turns left, action) of each row."""
    world, policy, rng = world_of(TASK), mixed_policy(TASK, 0.8), random.Random(1)
    weighted = {state: (list(chances), list(chances.values())) for state, chances in policy.items()}
    episodes = [play(world, weighted, rng) for _ in range(GROUPS * SIZE)]
    turns = [turn for episode in episodes for turn in episode]  # ids in the order of the table: rows stay as they are
    table = TurnTable.from_arrays(
        ids=[f"{k:06d}" for k in range(len(episodes))],
        group=[f"{k // SIZE:06d}" for k in range(len(episodes))],
        length=[len(episode) for episode in episodes],
        reward=[reward for *_, reward in turns],
        anchor=[(state, left) for state, left, _, _ in turns],
    )
    assert 0.2 < table.success.mean() < 0.8, table.success.mean()
    cells = [turn[:3] for turn in turns]
    number = {cell: k for k, cell in enumerate(dict.fromkeys(cells))}
    exact = {gamma: exact_values(TASK, policy, gamma) for gamma in (GAMMA, 1.0)}
    return SimpleNamespace(
        table=table,
        cells=cells,
        cell=np.array([number[cell] for cell in cells]),
        visits=np.bincount(joint(table.turn_group, table.anchor))[joint(table.turn_group, table.anchor)],
        advantage={g: np.array([values.advantage(*cell) for cell in cells]) for g, values in exact.items()},
        value={g: np.array([values.v[state, left] for state, left, _ in cells]) for g, values in exact.items()},
        outcome=np.array([exact[1.0].q[cell] - exact[1.0].v[world.first, LIMIT] for cell in cells]),
    )


def worst(sample, estimates, targets, rows=None):
    """The largest |mean error| over the cells with enough groups, in standard errors, and how many cells there are."""
    rows = np.arange(len(sample.cell)) if rows is None else np.flatnonzero(rows)
    error = (estimates - targets)[rows]
    error[np.abs(error) < 1e-12] = 0.0
    cell = sample.cell[rows]
    pairs = joint(cell, sample.table.turn_group[rows])
    sums = np.bincount(pairs, error)
    owner = np.zeros(len(sums), np.int64)
    owner[pairs] = cell
    groups, total, square = (np.bincount(owner, w) for w in (np.ones(len(sums)), sums, sums**2))
    told = (groups >= ENOUGH) & (square > 0)
    return np.max(np.abs(total[told]) / np.sqrt(square[told])), int(told.sum())


def advantages(table, method, **options):
    return assign(table, credit=[{method: options}]).advantages


def test_step_returns_centred_in_their_state_average_to_q_minus_v(sample):
    """Of n turns in one state with as many left, a turn's own share of the mean takes (n - 1) / n of the advantage."""
    several, n = sample.visits > 1, sample.visits
    centred = advantages(sample.table, "gigpo-step", std=False, gamma=GAMMA)
    whole = centred * np.where(several, n / np.maximum(n - 1, 1), 0.0)
    error, cells = worst(sample, whole, sample.advantage[GAMMA], several)
    assert error < SIGMAS
    assert cells > 30
    assert (centred[~several] == 0).all()

    undiscounted = advantages(sample.table, "gigpo-step", std=False, gamma=1.0) * n / np.maximum(n - 1, 1)
    wrong = {
        "without the factor": centred,
        "undiscounted returns": undiscounted,
        "divided by the deviation": advantages(sample.table, "gigpo-step", std=True, gamma=GAMMA),
        "the turn before": np.roll(whole, 1),
        "sign": -whole,
    }
    for name, estimates in wrong.items():
        assert worst(sample, estimates, sample.advantage[GAMMA], several)[0] > SIGMAS, name
    assert worst(sample, undiscounted, sample.advantage[1.0], several)[0] < SIGMAS  # right for what it estimates


@pytest.mark.parametrize(
    ("method", "options", "factor"), [("rloo", {}, 1.0), ("grpo", {"std": False}, SIZE / (SIZE - 1))]
)
def test_outcomes_against_the_others_average_to_q_minus_the_value_of_the_start(sample, method, options, factor):
    """So they are unbiased for the first turn; for a later one they add how good its state is, whatever the action."""
    estimates = factor * advantages(sample.table, method, **options)
    error, cells = worst(sample, estimates, sample.outcome)
    assert error < SIGMAS
    assert cells > 200
    assert worst(sample, estimates, sample.advantage[1.0])[0] > SIGMAS
    first = sample.table.turn == 0
    assert worst(sample, estimates, sample.advantage[1.0], first)[0] < SIGMAS

    uncentred = sample.table.outcome[sample.table.trajectory]
    wrong = {
        "own outcome in the mean": advantages(sample.table, "grpo", std=False),
        "divided by the deviation": advantages(sample.table, "grpo", std=True),
        "not centred": uncentred,
        "sign": -estimates,
    }
    for name, wrongly in wrong.items():
        assert worst(sample, wrongly, sample.outcome)[0] > SIGMAS, name


@pytest.mark.parametrize("lam", [0.0, 0.5, 1.0])
def test_gae_with_exact_values_averages_to_q_minus_v_for_every_lambda(sample, lam):
    table = sample.table

    def gae(values, lam):
        return assign(replace(table, values=values), credit={"gae": {"gamma": GAMMA, "lam": lam}}).advantages

    estimates = gae(sample.value[GAMMA], lam)
    if lam == 0:  # the world is deterministic: one step and the exact value of what follows leave nothing to chance
        assert estimates == pytest.approx(sample.advantage[GAMMA], abs=1e-12)
    else:
        error, cells = worst(sample, estimates, sample.advantage[GAMMA])
        assert error < SIGMAS
        assert cells > 100
    for wrong in (gae(sample.value[1.0], lam), gae(np.zeros(len(table)), lam), -estimates):
        assert worst(sample, wrong, sample.advantage[GAMMA])[0] > SIGMAS
