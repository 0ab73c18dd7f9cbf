"""The probes: their contract, what each pays, and that each fails the trainer it was made to fail.

The trainer is a softmax table over state keys: what goes wrong with it is credit, not a network.
"""

import random

import numpy as np
import pytest

from agentrl.envs import check, registry
from agentrl.envs.probe import TASKS, WORDS
from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign

PROBES = ("bandit", "delay", "memory", "distractor", "noise")
ITERATIONS, GROUPS, SIZE, RATE = 60, 16, 4, 4.0
LEARNT, MISSED = 0.95, 0.7  # mean success of the last iterations; random play has 0.25
SEEDS = range(2)


def probe(name, split="train"):
    return registry.make(f"agentrl/Probe-{name}-v0:{split}")


def play(env, logits, key, task, seed, rng):
    """One episode as (state key, word, reward), and whether it succeeded."""
    env.reset(seed=seed, options={"task": task})
    turns, done = [], False
    while not done:
        state = key(env.state_key())
        chances = softmax(logits.setdefault(state, np.zeros(len(WORDS))))
        word = rng.choices(range(len(WORDS)), chances)[0]
        _, reward, done, _, info = env.step(WORDS[word])
        turns.append((state, word, reward))
    return turns, info["success"]


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def train(name, *, credit="grpo", change=lambda table, a: a, key=lambda k: k, group=lambda k: k // SIZE, seed=0):
    """Policy gradient on a table; the success rate over the last ten iterations."""
    env, rng, logits, successes = probe(name), random.Random(seed), {}, []
    for _ in range(ITERATIONS):
        tasks = [rng.choice(TASKS["train"]) for _ in range(GROUPS)]
        played = [play(env, logits, key, tasks[k // SIZE], rng.getrandbits(32), rng) for k in range(GROUPS * SIZE)]
        turns = [turn for episode, _ in played for turn in episode]
        table = TurnTable.from_arrays(
            ids=[f"{k:03d}" for k in range(len(played))],
            group=[f"{group(k):03d}" for k in range(len(played))],
            length=[len(episode) for episode, _ in played],
            reward=[reward for *_, reward in turns],
            anchor=[state for state, *_ in turns],
        )
        advantages = change(table, assign(table, credit=[credit]).advantages)
        steps = {}
        for (state, word, _), advantage in zip(turns, advantages, strict=True):
            steps.setdefault(state, []).append(advantage * (np.eye(len(WORDS))[word] - softmax(logits[state])))
        for state, step in steps.items():
            logits[state] = logits[state] + RATE * np.mean(step, axis=0)
        successes.append(np.mean([success for _, success in played]))
    return float(np.mean(successes[-10:]))


def shifted(by):
    """A turn's credit goes to the turn ``by`` later; what falls off an end of its episode is lost."""

    def change(table, advantages):
        to = table.turn + by
        kept = np.flatnonzero((to >= 0) & (to < table.length[table.trajectory]))
        out = np.zeros(len(table))
        out[kept + by] = advantages[kept]
        return out

    return change


STEP = {"gigpo-step": {"std": False}}  # unlike an outcome's, its credit differs from turn to turn
BUGS = {
    "sign": {"change": lambda table, advantages: -advantages},
    "credit one turn late": {"credit": STEP, "change": shifted(1)},
    "credit one turn early": {"credit": STEP, "change": shifted(-1)},
    "rewards of the turn only": {"credit": {"gigpo-step": {"gamma": 0.0, "std": False}}},
    "what was seen is forgotten": {"key": lambda key: key[:1]},
    "statistics across groups": {"group": lambda k: 0},
}
CATCHES = {
    "bandit": ["sign"],
    "delay": ["sign", "credit one turn late", "credit one turn early", "rewards of the turn only"],
    "memory": ["sign", "credit one turn early", "what was seen is forgotten"],
    "distractor": ["sign", "credit one turn early", "what was seen is forgotten"],
    "noise": ["sign", "what was seen is forgotten", "statistics across groups"],
}


@pytest.mark.parametrize("credit", ["grpo", "gigpo"])
@pytest.mark.parametrize("name", PROBES)
def test_a_sound_trainer_learns(name, credit):
    assert np.mean([train(name, credit=credit, seed=seed) for seed in SEEDS]) > LEARNT


@pytest.mark.parametrize(("name", "bug"), [(name, bug) for name, bugs in CATCHES.items() for bug in bugs])
def test_a_broken_trainer_does_not(name, bug):
    assert np.mean([train(name, seed=seed, **BUGS[bug]) for seed in SEEDS]) < MISSED


def test_every_bug_is_caught_by_one_probe_and_passes_another():
    """So a failing probe says something."""
    assert {bug for bugs in CATCHES.values() for bug in bugs} == set(BUGS)
    assert train("bandit", **BUGS["rewards of the turn only"]) > LEARNT
    assert train("bandit", **BUGS["statistics across groups"]) > LEARNT
    assert train("bandit", **BUGS["what was seen is forgotten"]) > LEARNT
    assert train("memory", **BUGS["credit one turn late"]) > LEARNT


@pytest.mark.parametrize("name", PROBES)
def test_contract(name):
    report = check.check(f"agentrl/Probe-{name}-v0")
    assert report.ok, report


@pytest.mark.parametrize("name", PROBES)
def test_one_word_in_four_is_right_whatever_else_is_said(name):
    env = probe(name)
    assert all(word in env.instructions for word in WORDS)
    for task in range(16):
        results = []
        for word in WORDS:
            env.reset(seed=7, options={"task": task})
            total, done = 0.0, False
            while not done:
                _, reward, done, _, info = env.step(word if env.counts() else "white")
                total += reward
            results.append((info["success"], total))
        successes, totals = zip(*results, strict=True)
        assert sum(successes) == 1
        assert np.argmax(totals) == np.argmax(successes)


def test_delay_pays_late_and_for_the_first_word_only():
    env = probe("delay")
    for first, paid in (("blue", 1.0), ("red", 0.0)):
        env.reset(options={"task": 0})
        rewards = [env.step(word)[1] for word in (first, "blue", "nonsense", "blue", "blue")]
        assert rewards == [0.0, 0.0, 0.0, 0.0, paid]
    assert env.step("blue")[1:3] == (0.0, True)  # nothing after the end


def test_memory_shows_the_cue_once():
    env = probe("memory")
    shown = {}
    for task in range(4):
        first, _ = env.reset(options={"task": task})
        shown[task] = first, *(env.step("red")[0] for _ in range(3))
    assert len({texts[0] for texts in shown.values()}) == 4
    assert len({texts[1:] for texts in shown.values()}) == 1


def test_distractor_rings_once_at_every_turn_and_the_rest_varies_with_the_seed():
    env, turns, texts = probe("distractor"), set(), set()
    for seed, task in enumerate(range(32)):
        seen = [env.reset(seed=seed, options={"task": task % 16})[0]] + [env.step("red")[0] for _ in range(3)]
        turns.add(tuple("bell" in text for text in seen))
        texts.add((task % 16, *seen))
    assert sorted(turns) == sorted(tuple(i == k for i in range(4)) for k in range(4))
    assert len(texts) > 24


def test_noise_has_a_fixed_mean_and_pays_nothing_for_nonsense():
    env = probe("noise")

    def paid(task, word, seed):
        env.reset(seed=seed, options={"task": task})
        return env.step(word)[1]

    for task, word, mean in ((0, "red", 0.075), (0, "blue", 0.025), (1, "green", 0.975), (1, "red", 0.925)):
        rewards = [paid(task, word, seed) for seed in range(2000)]
        assert np.mean(rewards) == pytest.approx(mean, abs=5 * 0.05 / np.sqrt(12 * 2000))
        assert np.std(rewards) == pytest.approx(0.05 / np.sqrt(12), rel=0.1)
    assert paid(1, "sing", 0) == 0.0


def test_splits_and_bad_tasks():
    assert {probe("memory", "unseen").reset(seed=seed)[1]["task"] for seed in range(300)} == set(TASKS["unseen"])
    for task in (96, -1, "3", 1.0, True, None):
        with pytest.raises(UserError, match=r"unknown task .* of Bandit; a task is a number from 0 to 95"):
            probe("bandit").reset(options={"task": task})
    with pytest.raises(UserError, match=r"Memory: call reset\(\)"):
        probe("memory").step("red")
