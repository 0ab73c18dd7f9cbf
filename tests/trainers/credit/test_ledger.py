"""What training was given is what is stored, and what `credit explain` shows."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agentrl import api, store
from agentrl.cli.credit import _chosen
from agentrl.errors import UserError
from agentrl.trainers.batching import Sample
from agentrl.trainers.credit import TurnTable, assign, ledger
from agentrl.trainers.credit.batches import batches
from agentrl.trainers.credit.choose import choose
from agentrl.trainers.credit.explain import Explained, explain
from agentrl.trainers.loop import Training
from agentrl.trainers.update import Learner
from agentrl.types import Group, StopReason, Task, Trajectory, Turn

SMALL = [
    "rollout.tasks=2",
    "rollout.group=4",
    "limits.turns=5",
    "limits.turn_tokens=12",
    "kwargs.reward=dense",
    "rewards=[invalid-penalty]",
    "credit=[grpo,{gigpo-step: {weight: 0.5}},{clip: {limit: 0.7}}]",
    "checkpoint_every=1",
    "threads=1",
    "evaluate=false",
    "iterations=3",
]


def table() -> TurnTable:
    return TurnTable.from_arrays(
        ids=["b", "a"],
        group=["g", "g"],
        length=[2, 1],
        reward=[0.1, 1.0, 0.3],
        valid=[True, False, True],
        anchor=["s", "t", "s"],
    )


def test_what_is_read_is_what_was_given(tmp_path: Path) -> None:
    given = assign(table(), "invalid-penalty", ["gigpo", {"clip": {"limit": 0.5}}])
    path = ledger.write(tmp_path, "000000", given)
    found = ledger.read(path, table())
    assert list(found.parts) == ["grpo", "gigpo-step"]
    for mine, theirs in [
        (found.advantages, given.advantages),
        *zip(found.parts.values(), given.parts.values(), strict=True),
        (found.table.penalty, given.table.penalty),
        (found.table.outcome, given.table.outcome),
    ]:
        np.testing.assert_array_equal(mine, theirs)


def test_credit_by_token_and_what_scorers_gave_come_back(tmp_path: Path) -> None:
    plain = table()
    tokens = np.array([2, 1, 3])
    scores = {"values": [0.1, 0.2, 0.3], "mc_values": [0.4, 0.5, np.nan], "mc_error": [0.1, 0.0, np.nan]}
    full = replace(plain, tokens=tokens, token_values=np.arange(6) / 7, last_value=np.array([0.0, 0.3]), **scores)
    given = assign(full, credit="gae-token")
    path = ledger.write(tmp_path, "000000", given)
    found = ledger.read(path, replace(plain, tokens=tokens))
    assert given.token_advantages is not None
    np.testing.assert_array_equal(found.token_advantages, given.token_advantages)
    for name in ("token_values", "last_value", *scores):
        np.testing.assert_array_equal(getattr(found.table, name), getattr(full, name))
    again = assign(found.table, credit="gae-token")
    np.testing.assert_array_equal(again.token_advantages, given.token_advantages)


def test_a_file_that_is_damaged_or_of_other_turns(tmp_path: Path) -> None:
    path = ledger.write(tmp_path, "000000", assign(table()))
    other = TurnTable.from_arrays(ids=["a"], group=["g"], length=[2], reward=[0.0, 1.0])
    with pytest.raises(UserError, match="names other turns"):
        ledger.read(path, other)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="is damaged"):
        ledger.read(path, table())
    with pytest.raises(UserError, match="no such file"):
        ledger.read(tmp_path / "none.parquet", table())


def test_groups_that_a_filter_dropped_are_left_out(tmp_path: Path) -> None:
    """They are stored beside the others, were not trained on, and must not change what is shown."""
    task = Task("Env-v0", 1)

    def group(name: str, *rewards: float) -> Group:
        turns = [[Turn("s", state_key="s", action="a", rewards={"r": r})] for r in rewards]
        return Group(task, name, [Trajectory(f"{name}-{i}", task, 0, t, group=name) for i, t in enumerate(turns)])

    used, dropped = group("a", 1.0, 0.0), group("b", 1.0, 1.0)
    dropped.trajectories[1].stop = StopReason.ENV_ERROR
    ledger.write(tmp_path / "credit", "000000", assign(TurnTable.from_groups([used])))
    store.write(tmp_path / "trajectories", "000000", [used, dropped])
    [batch] = batches(tmp_path)
    assert batch.table.ids == ("a-0", "a-1")
    assert dict(batch.table.excluded) == {"b-0": "dropped", "b-1": "env_error"}
    found = explain([batch], choose(["grpo"]), "b")
    assert [t.excluded for t in found.trajectories] == ["dropped", "env_error"]
    assert explain([batch], choose(["grpo"]), "a").stored == ["grpo"]


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[list[Sample]]:
    """The samples that the learner is given, an entry an iteration."""
    found: list[list[Sample]] = []
    real = Learner.update

    def noted(self: Learner, samples: list[Sample], *args: float) -> dict[str, float]:
        found.append(samples)
        return real(self, samples, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Learner, "update", noted)
    return found


def given(samples: list[Sample]) -> list[list[float]]:
    """Per trajectory, the advantage of each turn as the loss sees it."""
    found: dict[int, dict[int, float]] = {}
    for sample in samples:
        for turn in np.unique(sample.turn[sample.turn >= 0]):
            [advantage] = set(sample.advantages[sample.turn == turn].tolist())
            found.setdefault(sample.trajectory, {})[int(turn)] = advantage
    return [[turns[k] for k in sorted(turns)] for _, turns in sorted(found.items())]


def explained(run: Path, iteration: int) -> list[Explained]:
    chosen = _chosen(run, None, None, None)
    return [explain(batches(run), chosen, f"{iteration:06d}-{k:03d}", together=True) for k in range(2)]


def shown(found: list[Explained]) -> list[list[float]]:
    """As the table of turns has them, by task, group and name, which is not the order of play."""
    return [[float(np.float32(turn.gave["advantage"])) for turn in t.turns] for e in found for t in e.trajectories]


def same(run: Path, learnt: list[list[Sample]], iterations: range) -> None:
    for iteration, samples in zip(iterations, learnt, strict=True):
        found = explained(run, iteration)
        assert all(e.columns == e.stored == ["grpo", "gigpo-step", "advantage"] for e in found)
        assert any(a for turns in shown(found) for a in turns)
        assert sorted(shown(found)) == sorted(given(samples))


def test_explain_shows_what_the_learner_was_given(learnt: list[list[Sample]], tmp_path: Path) -> None:
    run = tmp_path / "run"
    Training.new(api.recipe_for("household-tiny", SMALL), run).run()
    same(run, learnt, range(3))
    aside = explain(batches(run), choose(["grpo", "rloo"]), "0")
    assert (aside.stored, aside.origin) == (["grpo"], "grpo: as the trainer stored it; rloo: worked out now")
    assert explain(batches(run), choose(["grpo"], {"std": False}), "0").stored == []


@pytest.mark.slow
def test_the_same_after_kill_9(learnt: list[list[Sample]], tmp_path: Path) -> None:
    """Killed when the second iteration's credit is stored and its update has not begun."""
    run = tmp_path / "run"
    program = f"""
import os, signal
from pathlib import Path
from agentrl import api, store
from agentrl.trainers.credit import ledger
from agentrl.trainers.loop import Training
real = ledger.write
def write(folder, name, given):
    path = real(folder, name, given)
    if name == "000001":
        path.write_bytes(b"rubbish")
        (folder / "000002.parquet").write_bytes(b"rubbish")
        os.kill(os.getpid(), signal.SIGKILL)
    return path
ledger.write = write
Training.new(api.recipe_for("household-tiny", {SMALL!r}), Path({str(run)!r})).run()
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    training = Training.resume(run)
    training.run()
    same(run, learnt, range(1, 3))
    assert sorted(path.name for path in (run / "credit").iterdir()) == [f"{i:06d}.parquet" for i in range(3)]
