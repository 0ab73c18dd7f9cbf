"""Comparison and explanation against what assign() gives, and their corners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from agentrl.errors import UserError
from agentrl.store import write
from agentrl.trainers.credit import TurnTable, assign
from agentrl.trainers.credit.batches import Batch, batches, recipe_of
from agentrl.trainers.credit.choose import Chosen, choose
from agentrl.trainers.credit.compare import compare
from agentrl.trainers.credit.explain import explain
from agentrl.trainers.credit.page import page
from agentrl.types import Group, StopReason, Task, Trajectory, Turn


def group(name: str, *episodes: tuple[str, float], failed: bool = False) -> Group:
    """Episodes as ``("xyz", outcome)``: a state a letter, the outcome in the last turn."""
    task = Task("Env-v0", name)
    made = [
        Trajectory(
            f"{name}-{k}",
            task,
            seed=0,
            group=name,
            success=outcome > 0,
            turns=[
                Turn(f"at {s}", state_key=s, action=f"leave {s}", rewards={"r": outcome * (i == len(states) - 1)})
                for i, s in enumerate(states)
            ],
        )
        for k, (states, outcome) in enumerate(episodes)
    ]
    if failed:
        made.append(Trajectory(f"{name}-f", task, seed=0, group=name, stop=StopReason.ENV_ERROR, error="oh"))
    return Group(task, name, made)


FIRST = [group("g0", ("xy", 1.0), ("xz", 0.0), failed=True), group("g1", ("q", 1.0), ("q", 0.0), ("p", 0.0))]
SECOND = [group("g2", ("x", 1.0), ("x", 0.0))]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write(tmp_path / "trajectories", "000000", FIRST)
    write(tmp_path / "trajectories", "000001", SECOND)
    (tmp_path / "recipe.yaml").write_text("credit: [grpo, gigpo-step]\nanchor: observation\n")
    return tmp_path


def test_batches_are_the_files_of_a_run(run: Path) -> None:
    found = batches(run)
    assert [batch.ids for batch in found] == [["g0-0", "g0-1", "g0-f", "g1-0", "g1-1", "g1-2"], ["g2-0", "g2-1"]]
    assert dict(found[0].table.excluded) == {"g0-f": "env_error"}
    assert found[0].turns["g0-1"] == [("at x", "leave x"), ("at z", "leave z")]
    assert [batch.ids for batch in batches(run / "trajectories" / "000001.parquet")] == [["g2-0", "g2-1"]]
    assert recipe_of(run)["anchor"] == "observation"
    assert recipe_of(run / "trajectories") == {}


@pytest.mark.parametrize("text", ["- a\n", "{", "\udcff"])
def test_a_damaged_recipe(run: Path, text: str) -> None:
    (run / "recipe.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(UserError, match=r"recipe\.yaml is damaged"):
        batches(run)


def test_an_empty_group_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "000000", [Group(Task("Env-v0", 1), "hollow")])
    with pytest.raises(UserError, match=r"000000\.parquet: group 'hollow' has no trajectories"):
        batches(tmp_path)


def test_a_batch_of_failures_only_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "000000", [group("g", failed=True)])
    with pytest.raises(UserError, match=r"no trajectory can be used: \{'g-f': 'env_error'\}"):
        batches(tmp_path)


def test_compare(run: Path) -> None:
    found = compare(batches(run), choose(["grpo", "gigpo-step", "gigpo"], {"std": False}))
    tables = [TurnTable.from_groups(groups) for groups in (FIRST, SECOND)]
    columns = [
        np.concatenate([assign(t, credit={id: {"std": False}}).advantages for t in tables])
        for id in ("grpo", "gigpo-step", "gigpo")
    ]
    assert found.estimators == ["grpo", "gigpo-step", "gigpo"]
    assert found.turns == 9
    np.testing.assert_allclose(found.variance, [a.var() for a in columns])
    np.testing.assert_allclose(found.zero_share, [(np.abs(a) < 1e-9).mean() for a in columns])
    np.testing.assert_allclose(np.array(found.correlation, float), np.corrcoef(columns))
    assert found.sign_agreement[0][1] == (np.sign(columns[0]) == np.sign(columns[1])).mean()
    assert found.anchor_singleton_share == [None, pytest.approx(3 / 9), pytest.approx(3 / 9)]
    json.dumps(found.plain())


def test_an_estimator_that_says_nothing_correlates_with_nothing(tmp_path: Path) -> None:
    write(tmp_path, "000000", [group("g", ("x", 0.1), ("x", 0.1), ("x", 0.1))])
    found = compare(batches(tmp_path), choose(["grpo", "gigpo"]))
    assert found.correlation == [[None, None], [None, None]]
    assert found.zero_share == [1.0, 1.0]
    with pytest.raises(UserError, match="at least one estimator"):
        compare(batches(tmp_path), choose(["whiten"]))


def test_explain_apart_and_together(run: Path) -> None:
    found = explain(batches(run), choose(["rloo", "gigpo"]), "g0")
    assert found.columns == ["rloo", "gigpo: grpo", "gigpo: gigpo-step", "gigpo"]
    first, second, failed = found.trajectories
    assert [t.excluded for t in found.trajectories] == [None, None, "env_error"]
    assert failed.turns == []
    assert [turn.anchor_size for turn in first.turns] == [2, 1]
    assert (second.turns[1].observation, second.turns[1].action) == ("at z", "leave z")
    credit = assign(TurnTable.from_groups(FIRST), credit="gigpo")
    assert [turn.gave["gigpo"] for turn in first.turns] == credit.of("g0-0").tolist()
    sums = [turn.gave["gigpo: grpo"] + turn.gave["gigpo: gigpo-step"] for turn in first.turns]
    np.testing.assert_allclose(sums, credit.of("g0-0"))
    recipe = Chosen((), tuple(recipe_of(run)["credit"]))
    both = explain(batches(run), recipe, "2", together=True)
    assert both.group == "g2"
    assert both.columns == ["grpo", "gigpo-step", "advantage"]
    json.dumps(both.plain())


def test_a_state_carries_over_from_the_batches_before(tmp_path: Path) -> None:
    """OTC remembers the fewest calls that solved a task."""
    task = Task("Env-v0", 1)

    def played(name: str, calls: int) -> Group:
        from agentrl.types import ToolRecord

        turn = Turn("s", state_key="s", rewards={"r": 1.0}, tool_calls=[ToolRecord("f", {})] * calls)
        lost = Trajectory(f"{name}-1", task, 0, [Turn("s", state_key="s")], group=name)
        return Group(task, name, [Trajectory(f"{name}-0", task, 0, [turn], success=True, group=name), lost])

    write(tmp_path, "000000", [played("a", 1)])
    write(tmp_path, "000001", [played("b", 3)])
    found = explain(batches(tmp_path), choose(["otc", "grpo"]), "b")
    assert found.trajectories[0].outcome == pytest.approx(np.sin(np.pi * 3 / 4))


def test_a_state_that_is_not_known_has_no_size(tmp_path: Path) -> None:
    task = Task("Env-v0", 1)
    lone = Trajectory("t", task, 0, [Turn("s"), Turn("s")], group="g")
    write(tmp_path, "000000", [Group(task, "g", [lone])])
    assert [turn.anchor_size for turn in explain(batches(tmp_path), choose(["grpo"]), "g").trajectories[0].turns] == [
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("g7", "unknown group 'g7'; did you mean"), ("3", "there is no group 3: they are numbered from 0 to 2")],
)
def test_a_group_that_is_not_there(run: Path, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        explain(batches(run), choose(["grpo"]), name)


def test_a_group_in_two_files_is_not_guessed(tmp_path: Path) -> None:
    for name in ("000000", "000001"):
        write(tmp_path, name, SECOND)
    found: list[Batch] = batches(tmp_path)
    options: dict[str, Any] = {"batches": found, "chosen": choose(["grpo"])}
    with pytest.raises(UserError, match="group 'g2' is in several files"):
        explain(**options, group="g2")
    assert explain(**options, group="1").source.endswith("000001.parquet")


def test_a_page_escapes_what_it_shows(tmp_path: Path) -> None:
    task = Task("Env-v0", 1)
    turns = [Turn("<b>&", state_key="s", action="</td>", valid=False, rewards={"r": 1.0})]
    write(tmp_path, "000000", [Group(task, "<g>", [Trajectory("a", task, 0, turns, group="<g>")])])
    text = page(explain(batches(tmp_path), choose(["grpo"]), "<g>"))
    assert "&lt;b&gt;&amp;" in text
    assert "&lt;/td&gt;" in text
    assert "<b>" not in text
    assert 'class="invalid"' in text
    ElementTree.fromstring(text.replace("<!doctype html>", "").replace('<meta charset="utf-8">', ""))


def test_a_page_of_a_run(run: Path) -> None:
    text = page(explain(batches(run), choose(["rloo"]), "g0"))
    assert text.count("<table>") == 2
    assert "left out: env_error" in text
    assert "+1.000" in text
