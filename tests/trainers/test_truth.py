"""The truth that estimators are measured by: exact values, and continuations that must agree with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agentrl import store
from agentrl.cli.main import main
from agentrl.envs.keydoor.values import exact_values, mixed_policy
from agentrl.envs.keydoor.world import LIMIT, State, advance, world_of
from agentrl.errors import UserError
from agentrl.trainers.progress import Observer
from agentrl.trainers.truth import estimated, exact, stored
from agentrl.types import Trajectory

KEYDOOR = "agentrl/KeyDoor-v0"


def test_continuations_agree_with_dynamic_programming(tmp_path: Path) -> None:
    """Random play is a policy whose values are known: the error must be what its standard error says."""
    found = estimated(KEYDOOR, "random", tmp_path / "t", groups=2, size=3, k=40, kwargs={}, turn_tokens=8, seed=1)
    true = []
    for group in store.read(tmp_path / "t" / "trajectories"):
        task = str(group.task.id)
        world, policy = world_of(task), mixed_policy(task, 1.0)
        values = exact_values(task, policy)
        for t in group:
            state: State = world.first
            for i, turn in enumerate(t.turns):
                true.append(values.advantage(state, LIMIT - i, str(turn.action)))
                state = advance(world, state, str(turn.action)) or state
    z = (found.advantage - np.array(true)) / np.maximum(found.error, 0.02)
    assert len(z) > 40
    assert abs(z.mean()) < 5 / np.sqrt(len(z)) * 2  # neighbours share a value
    assert 0.5 < np.sqrt((z**2).mean()) < 1.5
    again = stored(tmp_path / "t")
    assert (again.advantage == found.advantage).all()
    assert (again.error == found.error).all()


class Stopping(Observer):
    """Ctrl-C while the second group is played on."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int]] = []
        self.seen = 0

    def phase(self, name: str, total: int) -> None:
        self.phases.append((name, total))
        self.seen = 0

    def episode(self, trajectory: Trajectory) -> None:
        self.seen += 1
        if len(self.phases) == 4 and self.seen == 3:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_the_groups_that_were_done(tmp_path: Path) -> None:
    watch = Stopping()
    with pytest.raises(KeyboardInterrupt):
        estimated(KEYDOOR, "random", tmp_path / "t", groups=3, size=3, k=4, kwargs={}, turn_tokens=8, seed=1,
                  observer=watch)  # fmt: skip
    of = [f"group {g} of 3" for g in (1, 2)]
    assert [name for name, _ in watch.phases] == [f"{g}: {what}" for g in of for what in ("episodes", "continuations")]
    assert watch.phases[0][1] == 3
    assert watch.phases[1][1] % 4 == 0
    part = stored(tmp_path / "t")
    whole = estimated(KEYDOOR, "random", tmp_path / "w", groups=3, size=3, k=4, kwargs={}, turn_tokens=8, seed=1)
    assert len(np.unique(part.table.group)) == 1
    rows = np.isin([whole.table.ids[i] for i in whole.table.trajectory], part.table.ids)
    assert (whole.advantage[rows] == part.advantage).all()


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(UserError, match="not empty"):
        estimated(KEYDOOR, "random", tmp_path, groups=2, size=2, k=2, kwargs={}, turn_tokens=8, seed=0)
    with pytest.raises(SystemExit) as ended:
        main(["credit", "bench", KEYDOOR])
    assert ended.value.code == 2


def test_the_exact_world_is_drawn_by_seed_and_its_advantages_average_to_nothing() -> None:
    a, b, c = exact(20, 8, 0.8, 0), exact(20, 8, 0.8, 0), exact(20, 8, 0.8, 1)
    assert (a.advantage == b.advantage).all()
    assert len(c.advantage) != len(a.advantage) or (c.advantage != a.advantage).any()
    assert 0.2 < a.table.success.mean() < 0.9
    per_group = a.table.total(a.advantage)
    assert abs(per_group.mean()) < 4 * per_group.std() / np.sqrt(len(per_group))
    # the advantages of an episode add up to its outcome less the value of its start
    first = {g: a.table.outcome[a.table.group == g] - per_group[a.table.group == g] for g in set(a.table.group)}
    assert all(np.ptp(values) < 1e-9 for values in first.values())


def test_the_command_scores_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["credit", "bench", "exact", "--groups", "12", "--sizes", "4,16", "--estimators", "grpo,gigpo",
              "-o", str(tmp_path), "--json"])  # fmt: skip
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert json.loads((tmp_path / "bench.json").read_text()) == told
    assert [(s["estimator"], s["size"]) for s in told["scores"]] == [(e, n) for n in (4, 16) for e in ("grpo", "gigpo")]
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")
