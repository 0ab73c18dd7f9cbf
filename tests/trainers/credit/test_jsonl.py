"""JSON lines: good ones become the table that the same episodes would have given; bad ones are named by line."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit import assign
from agentrl.trainers.credit.batches import batches, credited
from agentrl.trainers.credit.jsonl import read_lines


def step(state: str, reward: float = 0.0, **more: Any) -> dict[str, Any]:
    given = {"state": state, "action": "go", "reward": reward, "tool_calls": 0, "valid": True, "tokens": 2}
    return given | {"entropies": [0.5, 1.5]} | more


def line(id: str, *steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    outcome = sum(s["reward"] for s in steps)
    given = {"group": "g", "id": id, "parent": None, "branch_turn": None, "outcome": outcome, "steps": list(steps)}
    return given | more


GOOD = [
    line("b", step("x"), step("y", 1.0)),
    line("a", step("x"), step("z")),
    line("c", step("x"), step("y"), parent="b", branch_turn=1),
]


def write(folder: Path, lines: list[Any], end: str = "\n") -> Path:
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + end)
    return path


def test_a_good_file(tmp_path: Path) -> None:
    batch = read_lines(write(tmp_path, GOOD))
    assert batch.ids == ["b", "a", "c"]
    table = batch.table
    assert table.ids == ("a", "b", "c")
    assert table.outcome.tolist() == [0, 1, 0]
    assert table.entropy.tolist() == [1.0] * 6
    assert table.parent.tolist() == [-1, -1, 1]
    assert table.anchor[table.rows("a").start] == table.anchor[table.rows("b").start]
    np.testing.assert_allclose(assign(table).of("b"), 2 / 3 / (np.sqrt(1 / 3) + 1e-6))


def test_a_failed_trajectory_is_left_out_and_named(tmp_path: Path) -> None:
    batch = read_lines(write(tmp_path, [*GOOD, line("d", ended="failed"), line("e", step("x"), ended="truncated")]))
    assert batch.ids == ["b", "a", "c", "d", "e"]
    assert dict(batch.table.excluded) == {"d": "failed"}
    assert batch.table.ended[-1] == "truncated"


def test_rewards_tasks_and_structured_actions(tmp_path: Path) -> None:
    calls = [step("x", action={"tool": "f", "b": 1}), step("x", action={"b": 1, "tool": "f"}, next_state="q", cost=0.5)]
    lines = [line("a", *calls, rewards={"format": 1.0}, task="t"), line("b", calls[0], rewards={"format": 0}, task="t")]
    table = read_lines(write(tmp_path, lines)).table
    assert table.rewards["format"].tolist() == [1.0, 0.0]
    assert len(set(table.action.tolist())) == 1
    np.testing.assert_array_equal(table.cost, [np.nan, 0.5, np.nan])


def bad(change: Any) -> list[Any]:
    lines = copy.deepcopy(GOOD)
    change(lines)
    return lines


def put(turn: int, key: str, value: Any) -> Any:
    return lambda x: x[1]["steps"][turn].update({key: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(1, "reward", float("nan")), r"line 2: trajectory 'a', turn 1: reward is nan: Input should be a finite"),
        (put(0, "reward", float("inf")), r"line 2: trajectory 'a', turn 0: reward is inf"),
        (put(0, "reward", None), r"line 2: trajectory 'a', turn 0: reward is None"),
        (put(0, "reward", "1"), r"turn 0: reward is '1'"),
        (put(0, "reward", True), r"turn 0: reward is True"),
        (
            lambda x: x[1]["steps"][1].pop("state"),
            r"line 2: trajectory 'a', turn 1: the key 'state' is missing",
        ),
        (put(1, "state", ""), r"line 2: trajectory 'a', turn 1: state is ''"),
        (put(1, "state", None), r"line 2: trajectory 'a', turn 1: state is None"),
        (lambda x: x[1]["steps"][1].pop("tokens"), r"turn 1: the key 'tokens' is missing"),
        (put(1, "tokens", -1), r"turn 1: tokens is -1"),
        (put(1, "tokens", 10**30), r"turn 1: tokens is 1000"),
        (put(1, "entropies", [1.0]), r"line 2: trajectory 'a', turn 1: 1 entropies for 2 tokens"),
        (put(1, "entropies", [1.0, float("nan")]), r"turn 1: entropies is nan"),
        (put(1, "rewrad", 1.0), r"turn 1: unknown key 'rewrad'; did you mean 'reward'"),
        (put(1, "valid", "yes"), r"turn 1: valid is 'yes'"),
        (lambda x: x[1].update(group=""), r"line 2: trajectory 'a': group is ''"),
        (lambda x: x[1].update(outcome=float("-inf")), r"line 2: trajectory 'a': outcome is -inf"),
        (lambda x: x[1].pop("outcome"), r"trajectory 'a': the key 'outcome' is missing"),
        (lambda x: x[1].update(steps=[]), r"line 2: trajectory 'a' has no steps"),
        (lambda x: x[1].update(steps=3), r"trajectory 'a': steps is 3"),
        (
            lambda x: x[1]["steps"].insert(0, 3),
            r"trajectory 'a', turn 0: .* is 3",
        ),
        (lambda x: x[1].update(ended="lost"), r"ended is 'lost': Input should be 'terminated', 'truncated' or"),
        (lambda x: x[1].update(id="b"), r"line 2: trajectory 'b' is on line 1 already"),
        (lambda x: x[1].pop("id"), r"line 2: trajectory '\(no id\)': the key 'id' is missing"),
        (
            lambda x: x[1].update(task="t"),
            r"line 2: trajectory 'a' has task 't', but 'b' of its group has None",
        ),
        (
            lambda x: x[1].update(rewards={"f": 1.0}),
            r"line 2: trajectory 'a' has rewards \['f'\], but 'b' has \[\]",
        ),
        (
            lambda x: x[2].update(parent="q"),
            r"line 3: trajectory 'c' was branched from 'q', which is not in its group",
        ),
        (lambda x: x[2].update(parent="c"), r"line 3: trajectory 'c' is its own ancestor"),
        (lambda x: x[0].update(parent="c", branch_turn=1), r"line 1: trajectory 'b' is its own ancestor"),
        (lambda x: x[2].update(branch_turn=None), r"line 3: trajectory 'c' has a parent and no branch_turn"),
        (lambda x: x[2].update(branch_turn=9), r"line 3: trajectory 'c' was branched from 'b' after 9 turns"),
        (lambda x: x[2].update(group="h"), r"line 3: trajectory 'c' was branched from 'b', which is not in its group"),
        (lambda x: x.insert(1, 7), r"line 2 is not an object: 7"),
        (lambda x: x.clear(), r"holds no trajectories"),
        (lambda x: x.__setitem__(slice(None), [line("a", ended="failed")]), r"every trajectory failed"),
    ],
)
def test_bad_input_is_one_line_that_says_where(tmp_path: Path, change: Any, message: str) -> None:
    path = write(tmp_path, bad(change))
    with pytest.raises(UserError, match=message) as error:
        read_lines(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_was_cut(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1, 37):
        path.write_bytes(whole[:cut])
        if whole[cut : cut + 1] == b"\n" or whole[cut - 1 : cut] == b"\n":
            continue
        with pytest.raises(UserError, match=r"line \d is cut off or no JSON"):
            read_lines(path)
    path.write_bytes(b"{\xff}\n" + whole)
    with pytest.raises(UserError, match="line 1 is no JSON"):
        read_lines(path)
    with pytest.raises(UserError, match="no such file"):
        read_lines(tmp_path / "none.jsonl")


def test_what_an_estimator_lacks_is_named_with_file_and_line(tmp_path: Path) -> None:
    lines = copy.deepcopy(GOOD)
    lines[1]["steps"][1]["action"] = None
    found = batches(write(tmp_path, lines))
    with pytest.raises(UserError, match=r"line 2: salt needs an action, and trajectory 'a', turn 1 has none"):
        list(credited(found, [], ["salt"]))
    with pytest.raises(
        UserError, match="line 2: tool-price needs what its tools cost, and trajectory 'a', turn 0 has none"
    ):
        list(credited(found, [{"tool-price": {"cost": 1.0}}], ["grpo"]))
    assert len(list(credited(found, ["tool-price"], ["grpo"]))) == 1
