"""Metrics reach the trackers, and are read back with each one's own reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentrl.errors import UserError
from agentrl.trainers import trackers
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.record import Record

LINES = [
    {"iteration": i, "success": 0.25 * i, "update": {"entropy": 1.0 - i}, "stops": {"terminated": i}} for i in range(3)
]


def log(folder: Path, name: trackers.Name) -> None:
    record = Record(folder)
    record.track(Recipe(name="r", env="E-v0", trackers=[name]))
    for line in LINES:
        record.log(line)
    record.close()


def test_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log(tmp_path, "tensorboard")
    found = EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(s.step, s.value) for s in found.Scalars("update/entropy")] == [(0, 1.0), (1, 0.0), (2, -1.0)]


def test_a_tracker_that_is_not_installed_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'agentrl-toolkit\[wandb\]'"):
        Record(tmp_path / "run").track(Recipe(name="r", env="E-v0", trackers=["wandb"]))
    assert not (tmp_path / "run").exists()


def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    (tmp_path / "run").mkdir()
    log(tmp_path / "run", "trackio")
    import trackio

    (run,) = [run for run in trackio.Api().runs("agentrl")]
    assert run.name == "run"


def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "run").mkdir()
    log(tmp_path / "run", "wandb")
    wandb.teardown()  # its own process writes the file
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-run.wandb")
    assert b"update/entropy" in file.read_bytes()
