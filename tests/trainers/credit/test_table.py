from __future__ import annotations

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.trainers.credit import TurnTable, assign
from agentrl.types import Group, StopReason, Task, ToolCall, ToolRecord, Trajectory, Turn


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


@pytest.mark.parametrize("value", [1e308, -1e101])
def test_a_reward_too_large_for_statistics_is_named(value: float) -> None:
    message = r"trajectory 'a', turn 1 is .*, beyond 1e\+100: no mean can be taken of it"
    with pytest.raises(UserError, match=f"reward of {message}"):
        TurnTable.from_groups([group("g", trajectory("a", turn("s"), turn("t", value)))])
    table = TurnTable.from_arrays(ids=["a"], group=["g"], length=[2], reward=[0.0, 1.0], cost=[0.0, 1.0])
    with pytest.raises(UserError, match=f"reward of {message}"):
        assign(table, [{"tool-price": {"cost": -value}}])
    with pytest.raises(UserError, match=r"reward 'bonus' of trajectory 'a' is .*, beyond 1e\+100"):
        TurnTable.from_arrays(ids=["a"], group=["g"], length=[1], reward=[0.0], rewards={"bonus": [value]})


def test_a_missing_state_key_is_named_by_whoever_needs_it() -> None:
    table = TurnTable.from_groups([group("g", trajectory("a", turn("s"), turn("")), trajectory("b", turn("s")))])
    assert len(assign(table, credit="grpo").advantages) == 3
    with pytest.raises(UserError, match="gigpo-step needs a state key, and trajectory 'a', turn 1 has none"):
        assign(table, credit="gigpo")


def test_anchors_by_choice() -> None:
    episodes = [group("g", trajectory("a", turn("s"), turn("t")), trajectory("b", turn("s")))]
    assert TurnTable.from_groups(episodes, "observation").anchor.tolist() == [0, 1, 0]
    assert TurnTable.from_groups(episodes, lambda t: len(t.observation)).anchor.tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="unknown anchor 'state'; did you mean 'state_key'"):
        TurnTable.from_groups(episodes, "state")


def test_an_id_that_occurs_twice_is_refused() -> None:
    with pytest.raises(UserError, match="trajectory id 'a' occurs twice"):
        TurnTable.from_groups([group("g", trajectory("a", turn("s")), trajectory("a", turn("s")))])


def test_actions_are_equal_where_they_do_the_same() -> None:
    one = turn("s", action=ToolCall("buy", item="milk", count=2))
    two = turn("s", action=[ToolCall("buy", count=2, item="milk")])
    said, same = turn("s", action="go  to the\u00a0desk"), turn("s", action="go to the desk")
    unparsed = turn("s", text="um", valid=False)
    table = TurnTable.from_groups([group("g", trajectory("a", one, two, said, same, unparsed))])
    assert table.action.tolist() == [0, 0, 1, 1, 2]


def test_the_state_after_a_turn() -> None:
    won = trajectory("a", turn("s"), turn("t", 1.0), success=True)
    lost = trajectory("b", turn("s"), turn("t"))
    cut = trajectory("c", turn("t"), turn("s"), stop=StopReason.MAX_TURNS)
    table = TurnTable.from_groups([group("g", won, lost, cut)])
    s, t = table.anchor[:2]
    after = table.next_anchor
    assert after[[0, 2, 4]].tolist() == [t, t, s]
    assert after[5] == -1
    assert len({int(after[1]), int(after[3]), int(s), int(t)}) == 4  # a win, a loss and the two states


def test_rewards_by_name_and_tasks_by_name() -> None:
    one = trajectory("a", turn("s"), Turn("o", state_key="t", rewards={"env": 1.0, "format": 0.5}))
    table = TurnTable.from_groups([group("g", trajectory("b", turn("s", 2.0)), one)])
    assert {name: r.tolist() for name, r in table.rewards.items()} == {"env": [1.0, 2.0], "format": [0.5, 0.0]}
    assert table.task_names == ("('Maze-v0#1', '()')",)


def test_branches_and_parents_that_cannot_be() -> None:
    root = trajectory("r", turn("s"), turn("t"))

    def branched(id: str, parent: str, after: int) -> Trajectory:
        return trajectory(id, turn("s"), turn("t"), parent=parent, branch_turn=after)

    table = TurnTable.from_groups([group("g", root, branched("a", "r", 1))])
    assert table.parent.tolist() == [1, -1]
    assert table.branch_turn.tolist() == [1, 0]
    failed = trajectory("f", turn("s"), stop=StopReason.ENV_ERROR)
    assert TurnTable.from_groups([group("g", failed, branched("a", "f", 1))]).parent.tolist() == [-1]
    for broken, message in [
        ([root, branched("a", "x", 1)], "trajectory 'a' was branched from 'x', which is not in its group"),
        ([root, branched("a", "r", 3)], "trajectory 'a' was branched from 'r' after 3 turns, but they have 2 and 2"),
        ([branched("a", "b", 1), branched("b", "a", 1), root], "trajectory 'a' is its own ancestor"),
    ]:
        with pytest.raises(UserError, match=message):
            TurnTable.from_groups([group("g", *broken)])


def test_an_empty_table_gives_empty_advantages() -> None:
    credit = assign(TurnTable.from_groups([]), ["invalid-penalty"], ["gigpo", {"gigpo-step": {"similarity": 0.9}}])
    assert len(credit.advantages) == 0
    assert credit.diagnostics == {}


def test_columns_cannot_be_changed_in_place() -> None:
    table = TurnTable.from_groups([group("g", trajectory("a", turn("s")))])
    with pytest.raises(ValueError, match="read-only"):
        table.reward[0] = 1.0
