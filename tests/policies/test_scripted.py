"""Scripted policies: the expert's noise is drawn by seed, marked, and half of it means nothing."""

from __future__ import annotations

import asyncio

import pytest

from agentrl import store
from agentrl.policies.load import load_policy
from agentrl.policies.scripted import Expert, Replay
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.types import Group, Task, Trajectory


def play(policy: object, count: int = 40) -> list[Trajectory]:
    tasks = [Task("agentrl/Household-v0", f"tiny-train-{i:05d}") for i in range(count)]
    jobs = [Job(str(i), task, seed=i, key=(i,)) for i, task in enumerate(tasks)]
    return asyncio.run(Rollout(policy).run(jobs))  # type: ignore[arg-type]


def test_expert_without_noise_solves_everything() -> None:
    assert all(t.success for t in play(Expert()))


def test_noise_is_marked_and_half_of_it_are_slips() -> None:
    turns = [turn for t in play(Expert(0.5)) for turn in t.turns]
    noisy = [turn for turn in turns if turn.info.get("noise")]
    assert 0.4 < len(noisy) / len(turns) < 0.6
    assert 0.3 < sum(not turn.valid for turn in noisy) / len(noisy) < 0.6
    assert all(turn.valid for turn in turns if not turn.info.get("noise"))


def test_a_range_of_noise_differs_by_episode_and_is_the_same_again() -> None:
    one, two = play(Expert((0.0, 1.0))), play(Expert((0.0, 1.0)))
    shares = [sum(bool(turn.info.get("noise")) for turn in t.turns) / len(t.turns) for t in one]
    assert max(shares) - min(shares) > 0.5
    assert [[turn.action for turn in t.turns] for t in one] == [[turn.action for turn in t.turns] for t in two]


def test_replay_repeats_what_was_stored(tmp_path: pytest.TempPathFactory) -> None:
    played = play(Expert(0.3), 5)
    store.write(str(tmp_path), "demos", [Group(t.task, t.id, [t]) for t in played])
    policy = load_policy(f"replay:{tmp_path}").policy
    assert isinstance(policy, Replay)
    again = play(policy, 5)
    assert [[turn.observation for turn in t.turns] for t in again] == [
        [turn.observation for turn in t.turns] for t in played
    ]
