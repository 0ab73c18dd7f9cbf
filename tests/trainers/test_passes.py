"""What the trainer's last pass said of each token stands beside what the sampler recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentrl import api, store
from agentrl.trainers import passes
from agentrl.trainers.batching import samples_of
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.loop import Training
from agentrl.types import Group, Task, Trajectory, Turn

SHORT = ["iterations=1", "evaluate=false", "rollout.tasks=1", "rollout.group=4", "limits.turns=4", "optim.warmup=0"]


def moved(run: Path) -> np.ndarray:
    """Trainer less sampler, of every sampled token of the run's only iteration."""
    played = {t.id: t for group in store.read(run / "trajectories") for t in group}
    found = passes.read(run / "passes" / "000000.parquet", set(played))
    assert set(found) == {(id, turn) for id, t in played.items() for turn in range(len(t.turns))}
    return np.concatenate(
        [np.subtract(logprobs, played[id].turns[turn].logprobs) for (id, turn), logprobs in found.items()]
    )


@pytest.mark.parametrize("minibatches", [1, 4])
def test_before_the_first_step_nothing_has_moved_and_after_it_something(tmp_path: Path, minibatches: int) -> None:
    recipe = api.recipe_for(
        "household-tiny", [*SHORT, f"optim.minibatches={minibatches}", "loss.terms=[{entropy: {weight: 0.1}}]"]
    )
    Training.new(recipe, tmp_path / "run").run()
    far = np.abs(moved(tmp_path / "run"))
    assert np.isfinite(far).all()
    assert (far.max() < 1e-4) == (minibatches == 1)


def test_a_turn_that_nobody_looked_at_has_no_row(tmp_path: Path) -> None:
    def turn(i: int) -> Turn:
        sampled = {"completion_ids": [3, 4], "logprobs": [-1.0, -2.0], "entropies": [0.1, 0.1], "versions": [(0, 0)]}
        return Turn(f"room {i}", prompt_ids=[1, 2], text="go", action="go", **sampled)

    episodes = [Trajectory(id, Task("E-v0", "a"), 0, [turn(0), turn(1)]) for id in ("a", "b")]
    table = TurnTable.from_groups([Group(Task("E-v0", "a"), "g", episodes)])
    samples = samples_of(episodes, np.ones(4), table.start.tolist(), 0)
    for sample in samples:
        if sample.trajectory == 0:
            sample.passed = np.where(sample.turn >= 0, np.arange(len(sample.ids)), np.nan).astype(np.float32)
    passes.write(tmp_path, "000000", samples, table)
    found = passes.read(tmp_path / "000000.parquet", {"a", "b"})
    assert set(found) == {("a", 0), ("a", 1)}
    assert all(len(logprobs) == 2 and np.isfinite(logprobs).all() for logprobs in found.values())
    assert passes.read(tmp_path / "000000.parquet", {"b"}) == {}
    assert passes.read(tmp_path / "none.parquet", {"a"}) == {}
