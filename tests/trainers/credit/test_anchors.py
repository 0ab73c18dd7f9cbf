"""Anchors by name, by function, and the privileged ones: labelled, and refused where nobody offers them."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agentrl.envs.household.env import Household
from agentrl.envs.keydoor.env import KeyDoor
from agentrl.envs.probe import Memory
from agentrl.errors import UserError
from agentrl.rollout.engine import preflight
from agentrl.trainers.credit import TurnTable, assign, plan, refuse_what_lacks
from agentrl.trainers.credit.batches import Batch
from agentrl.trainers.credit.choose import choose
from agentrl.trainers.credit.explain import explain
from agentrl.trainers.recipe import load
from agentrl.types import Group, Task, Trajectory, Turn


def groups(*turns: Turn) -> list[Group]:
    return [Group(Task("e", 0), "g", [Trajectory("a", Task("e", 0), 0, list(turns))])]


def test_a_function_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def room(turn):\n    return turn.observation.split()[-1] if turn.info.get('seen', True) else None\n"
        "def bad(turn):\n    return [turn.observation]\n"
    )
    turns = Turn("you are in hall"), Turn("back in hall"), Turn("in the hall", info={"seen": False})
    assert TurnTable.from_groups(groups(*turns), f"{path}:room").anchor.tolist() == [0, 0, -1]
    with pytest.raises(UserError, match=r"trajectory 'a', turn 0: anchor .*mine.py:bad failed: TypeError: unhashable"):
        TurnTable.from_groups(groups(*turns), f"{path}:bad")
    with pytest.raises(UserError, match=r"unknown anchor function of .*mine.py: 'rooms'; did you mean 'room'"):
        TurnTable.from_groups(groups(*turns), f"{path}:rooms")
    with pytest.raises(UserError, match="no such file"):
        TurnTable.from_groups(groups(*turns), f"{tmp_path}/none.py:room")


def test_privileged_anchors_are_labelled() -> None:
    turns = [Turn("o", state_key=key, info={"privileged_key": secret}) for key, secret in [("s", "x"), ("s", "y")]]
    table = TurnTable.from_groups(groups(*turns), "privileged")
    assert table.anchor.tolist() == [0, 1]
    assert assign(table).diagnostics["anchor_privileged"] == 1.0
    assert "anchor_privileged" not in assign(TurnTable.from_groups(groups(*turns))).diagnostics
    batch = Batch("run", table, {"g": ["a"]}, {"a": [("o", "x"), ("o", "y")]})
    assert explain([batch], choose(["gigpo-step"]), "g").origin == "gigpo-step: worked out now; anchors are privileged"
    with pytest.raises(UserError, match="trajectory 'a', turn 1: anchor privileged: the environment told no"):
        TurnTable.from_groups(groups(turns[0], Turn("o")), "privileged")


@pytest.mark.parametrize(
    ("env", "methods", "anchor", "message"),
    [
        ("agentrl/Probe-memory-v0", {"credit": "gigpo"}, "privileged", None),
        ("agentrl/KeyDoor-v0", {"rewards": ["potential-shaping"]}, "privileged", None),
        ("agentrl/Household-v0", {"credit": [{"gdpo": {"weights": {"goal": 1.0}}}]}, "privileged", None),
        ("agentrl/Household-v0", {"rewards": ["carr"]}, "state_key", "unknown reward named by carr 'rubric'"),
        ("agentrl/Probe-memory-v0", {"rewards": ["potential-shaping"]}, "state_key", r"offers no potential\(\)"),
        (
            "agentrl/Household-v0",
            {"credit": [{"gdpo": {"weights": {"gaol": 1.0}}}]},
            "state_key",
            "unknown reward named by gdpo 'gaol'; did you mean 'goal'",
        ),
    ],
)
def test_what_an_environment_cannot_give_is_refused_before_play(
    env: str, methods: dict[str, Any], anchor: str, message: str | None
) -> None:
    tasks = {"Household": "tiny-train-00000", "KeyDoor": "row4-start1-key2-door2-goal3"}
    task = Task(env, next((id for name, id in tasks.items() if name in env), 0))
    check = partial(refuse_what_lacks, plan=plan(**methods), anchor=anchor)
    if message is None:
        assert asyncio.run(preflight(task, check=check)) >= 0
        return
    with pytest.raises(UserError, match=message):
        asyncio.run(preflight(task, check=check))


class Plain(Memory):
    def privileged_key(self) -> None:
        return None


def test_an_environment_without_a_privileged_key_is_refused() -> None:
    env = Plain()
    env.reset(options={"task": 0})
    with pytest.raises(UserError, match=r"anchor privileged: Plain offers no privileged_key\(\)"):
        refuse_what_lacks(env, plan(), "privileged")


def test_privileged_keys_tell_what_state_keys_do_not() -> None:
    """A household looks the same from where the agent stands, whichever door it opened elsewhere."""
    env = Household("tiny")
    keys = []
    for command in ("open", "examine"):
        env.reset(options={"task": "tiny-train-00000"})
        places = [str(a) for a in env.admissible_actions() if str(a).startswith("go to")]
        for place in places:
            env.step(place)
            if acts := [a for a in env.admissible_actions() if str(a).startswith("open")]:
                env.step(acts[0] if command == "open" else "look")
                break
        env.step(next(other for other in places if other != place))
        keys.append((env.state_key(), env.privileged_key()))
    assert keys[0][0] == keys[1][0]
    assert keys[0][1] != keys[1][1]
    door = KeyDoor()
    door.reset(options={"task": "row4-start1-key2-door2-goal3"})
    assert door.privileged_key() == door.state_key()


def test_the_recipe_takes_an_anchor() -> None:
    assert load("household-tiny", ["anchor=privileged"]).anchor == "privileged"
    assert load("household-tiny", ["anchor=mine.py:room"]).anchor == "mine.py:room"
