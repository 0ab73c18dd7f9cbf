from __future__ import annotations

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign
from agentrl.types import Group, StopReason, Task, ToolRecord, Trajectory, Turn


def turn(state: str, reward: float = 0.0, **more: object) -> Turn:
    return Turn(observation=f"you are at {state}", state_key=state, rewards={"env": reward}, **more)  # type: ignore[arg-type]


def group(id: str, *trajectories: Trajectory) -> Group:
    return Group(Task("Maze-v0", 1), id, list(trajectories))


def trajectory(id: str, *turns: Turn, **more: object) -> Trajectory:
    return Trajectory(id, Task("Maze-v0", 1), 0, list(turns), **more)  # type: ignore[arg-type]


def test_columns_of_played_groups() -> None:
    sampled = Turn(
        observation=[{"role": "user", "content": "hi"}],
        state_key="s",
        prompt_ids=[1],
        completion_ids=[2, 3],
        logprobs=[-1, -1],
        entropies=[0.5, 1.5],
        versions=[(0, 0)],
        tool_calls=[ToolRecord("a", {}, cost=0.25), ToolRecord("b", {}, cost=0.5)],
        rewards={"a": 1.0, "b": 0.5},
        valid=False,
    )
    table = TurnTable.from_groups([group("g", trajectory("b", turn("s"), turn("t")), trajectory("a", sampled))])
    assert table.ids == ("a", "b")
    assert table.trajectory.tolist() == [0, 1, 1]
    assert table.turn.tolist() == [0, 0, 1]
    assert table.anchor[0] == table.anchor[1] != table.anchor[2]
    assert table.tokens.tolist() == [2, 0, 0]
    np.testing.assert_array_equal(table.entropy, [1.0, np.nan, np.nan])
    assert table.cost.tolist() == [0.75, 0, 0]
    assert table.tool_calls.tolist() == [2, 0, 0]
    assert table.outcome.tolist() == [1.5, 0.0]
    assert table.length.tolist() == [1, 2]
    assert table.valid.tolist() == [False, True, True]
    assert table.texts[table.observation[2]] == "you are at t"
    assert table.rows("b") == slice(1, 3)


def test_order_does_not_depend_on_arrival() -> None:
    a, b, c = (trajectory(name, turn("s", reward)) for name, reward in [("a", 1.0), ("b", 0.0), ("c", 3.0)])
    one = assign(TurnTable.from_groups([group("g1", a, b), group("g2", c)]))
    two = assign(TurnTable.from_groups([group("g2", c), group("g1", b, a)]))
    assert one.table.ids == two.table.ids
    assert (one.advantages == two.advantages).all()


def test_what_says_nothing_about_the_policy_leaves_the_statistics() -> None:
    failed = trajectory("failed", turn("s", 5.0), stop=StopReason.ENV_ERROR)
    good = trajectory("good", turn("s", 1.0)), trajectory("bad", turn("s", 0.0))
    table = TurnTable.from_groups([group("g", failed, trajectory("empty"), *good)])
    assert dict(table.excluded) == {"failed": "env_error", "empty": "no turns"}
    assert table.ids == ("bad", "good")
    assert assign(table, credit=[{"grpo": {"std": False}}]).of("good") == pytest.approx([0.5])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_is_named(value: float) -> None:
    broken = group("g", trajectory("a", turn("s"), turn("t", value)))
    with pytest.raises(UserError, match=r"reward of trajectory 'a', turn 1 is (nan|inf)"):
        TurnTable.from_groups([broken])


def test_a_missing_state_key_is_named_by_whoever_needs_it() -> None:
    table = TurnTable.from_groups([group("g", trajectory("a", turn("s"), turn("")), trajectory("b", turn("s")))])
    assert len(assign(table, credit="grpo").advantages) == 3
    with pytest.raises(UserError, match="gigpo-step needs a state key, and trajectory 'a', turn 1 has none"):
        assign(table, credit="gigpo")


def test_anchors_by_choice() -> None:
    episodes = [group("g", trajectory("a", turn("s"), turn("t")), trajectory("b", turn("s")))]
    assert TurnTable.from_groups(episodes, "observation").anchor.tolist() == [0, 1, 0]
    assert TurnTable.from_groups(episodes, lambda t: len(t.observation)).anchor.tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="anchor must be"):
        TurnTable.from_groups(episodes, "state")


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(UserError, match="trajectory id 'a' occurs twice"):
        TurnTable.from_groups([group("g", trajectory("a", turn("s")), trajectory("a", turn("s")))])


def test_an_empty_table_gives_empty_advantages() -> None:
    credit = assign(TurnTable.from_groups([]), ["invalid-penalty"], ["gigpo", {"gigpo-step": {"similarity": 0.9}}])
    assert len(credit.advantages) == 0
    assert credit.diagnostics == {}


def test_columns_cannot_be_changed_in_place() -> None:
    table = TurnTable.from_groups([group("g", trajectory("a", turn("s")))])
    with pytest.raises(ValueError, match="read-only"):
        table.reward[0] = 1.0
