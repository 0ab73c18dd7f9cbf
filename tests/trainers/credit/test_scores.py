"""Scores: where they come from, and what a method says that lacks one."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentrl.agents.chat import AgentConfig
from agentrl.envs.keydoor.world import splits
from agentrl.errors import UserError
from agentrl.policies.scripted import Expert
from agentrl.rollout.engine import Rollout
from agentrl.rollout.episode import Job
from agentrl.trainers.credit import TurnTable, assign
from agentrl.trainers.credit.scores import stated_confidence
from agentrl.types import Group, Task, ToolCall, Trajectory, Turn


def table_of(*turns: Turn) -> TurnTable:
    return TurnTable.from_groups([Group(Task("e", 0), "g", [Trajectory("a", Task("e", 0), 0, list(turns))])])


@pytest.mark.parametrize(
    ("text", "stated"),
    [
        ("The answer is 4. Confidence: 0.8", 0.8),
        ("confidence = 80 %", 0.8),
        ("<confidence>0.25</confidence>", 0.25),
        ("confidence: 0.2, no: confidence: 0.3.", 0.3),
        ("confidence: 1", 1.0),
        ("confidence: 80", None),
        ("confidence: 1.0.0", None),
        ("confidence: -1", 1.0),  # a dash reads as one in "confidence - 1"
        ("confidence: high", None),
        ("I am 80% sure", None),
    ],
)
def test_the_confidence_that_a_text_states(text: str, stated: float | None) -> None:
    assert stated_confidence(Turn("o", text=text)) == stated


@pytest.mark.parametrize(("value", "stated"), [(0.5, 0.5), (1, 1.0), (1.5, None), (True, None), ("0.5", None)])
def test_the_confidence_of_a_call(value: Any, stated: float | None) -> None:
    turn = Turn("o", text="confidence: 0.9", action=[ToolCall("look"), ToolCall("submit", confidence=value)])
    assert stated_confidence(turn) == stated


@given(st.text("confidence:=. 0123456789%", max_size=60))
def test_no_text_states_more_than_certainty(text: str) -> None:
    found = stated_confidence(Turn("o", text=text))
    assert found is None or 0 <= found <= 1


def test_scores_of_turns_and_the_confidence_of_the_last() -> None:
    table = table_of(
        Turn("o", text="confidence: 0.1", info={"scores": {"match": 1}}), Turn("o", text="confidence: 0.7")
    )
    np.testing.assert_array_equal(table.scores["match"], [1.0, np.nan])
    np.testing.assert_array_equal(table.scores["confidence"], [np.nan, 0.7])
    given = table_of(Turn("o", text="confidence: 0.7", info={"scores": {"confidence": 0.2}}))
    assert given.scores["confidence"].tolist() == [0.2]


def test_a_score_that_is_no_number_or_is_missing() -> None:
    with pytest.raises(UserError, match="score 'match' of trajectory 'a', turn 0 is 'high', not a number"):
        table_of(Turn("o", info={"scores": {"match": "high"}}))
    table = table_of(Turn("o", info={"scores": {"potential": 1.0, "match": 0.0}}), Turn("o"))
    with pytest.raises(UserError, match=r"potential-shaping needs the score 'potential' of each turn, and .*turn 1"):
        assign(table, "potential-shaping")
    with pytest.raises(UserError, match=r"toolrl needs the score 'match' of each turn, and .*turn 1 has none"):
        assign(table, "toolrl")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_tells_its_potential_and_its_privileged_key(workers: int) -> None:
    tasks = [Task("agentrl/KeyDoor-v0", id) for id in splits()["train"][:2]]
    rollout = Rollout(Expert(), AgentConfig(), workers=workers)
    try:
        played = asyncio.run(rollout.run([Job(f"{k}", task, k, group=f"{k}") for k, task in enumerate(tasks)]))
    finally:
        rollout.close()
    for t in played:
        assert t.success
        left = [-float(k) for k in range(len(t.turns), 0, -1)]  # minus the actions to the goal
        assert [turn.info["scores"]["potential"] for turn in t.turns] == left
        assert len({turn.info["privileged_key"] for turn in t.turns}) == len(t.turns)
    table = TurnTable.from_groups([Group(t.task, t.id, [t]) for t in played])
    shaped = assign(table, {"potential-shaping": {"gamma": 1.0}}).table
    assert (shaped.reward == 1.0 + table.reward).all()  # each turn came one nearer
