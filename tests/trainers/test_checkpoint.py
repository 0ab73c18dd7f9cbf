"""Checkpoints: damage is noticed and named, a full disk costs nothing, plug-ins' memory comes back, old ones go."""

from __future__ import annotations

import functools
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny import same

from agentrl import api
from agentrl.cli.main import main
from agentrl.errors import UserError
from agentrl.policies.load import load_model
from agentrl.trainers import checkpoint
from agentrl.trainers.loop import Training
from agentrl.trainers.record import Record

SMALL = ["rollout.tasks=2", "rollout.group=4", "limits.turns=4", "limits.turn_tokens=10", "kwargs.reward=dense"]
ALWAYS = ["checkpoint_every=1", "threads=1", "evaluate=false", "optim.anneal=false"]
REMEMBERS = [  # an estimator, a source of tasks, a budget, a replay and a loss, each with a memory
    "credit=[spo]",
    "rollout.source=vade",
    "rollout.budget=knapsack",
    "rollout.replay=successes",
    "loss.terms=[{epo: {weight: 0.1, low: 0.9, high: 1.1}}]",
]


def train(policy: Path, folder: Path, *changes: str) -> Path:
    Training.new(api.recipe_for("household-tiny", [f"policy.path={policy}", *SMALL, *ALWAYS, *changes]), folder).run()
    return folder


@pytest.fixture(scope="module")
def whole(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_policy, tmp_path_factory.mktemp("runs") / "whole", "iterations=4")


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of the run, as if it had been stopped after its last checkpoint."""
    shutil.copytree(whole, tmp_path / "run", symlinks=True)
    (tmp_path / "run" / "summary.json").unlink()
    return tmp_path / "run"


def flip(file: Path) -> None:
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(list(args))
    said = capsys.readouterr().err
    assert end.value.code == 2, said
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def test_the_newest_two_and_the_best_stay(whole: Path) -> None:
    held = {path.name for path in (whole / "checkpoints").iterdir()}
    best = (whole / "checkpoints" / "best").resolve().name
    assert held == {"last", "best", "000003", "000004", best}


def test_as_many_stay_as_the_recipe_says(tiny_policy: Path, tmp_path: Path) -> None:
    folder = train(tiny_policy, tmp_path / "run", "iterations=4", "checkpoint_keep=3") / "checkpoints"
    held = {path.name for path in folder.iterdir()}
    assert held == {"last", "best", "000002", "000003", "000004", (folder / "best").resolve().name}


@pytest.mark.parametrize("harm", [flip, cut, os.remove])
@pytest.mark.parametrize("name", ["model.safetensors", "trainer.pt", "tokenizer.json"])
def test_damage_is_one_line_that_names_the_file_and_the_last_good_one(
    run: Path, name: str, harm: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    harm(run / "checkpoints" / "last" / name)
    line = fails(capsys, "train", "--resume", str(run), "--set", "iterations=5")
    assert line.startswith(f"error: {run}/checkpoints/000004/{name} is ")
    assert line.endswith(f"the last good one is {run}/checkpoints/000003")
    with pytest.raises(UserError, match=rf"{name} is "):
        checkpoint.load_state(run / "checkpoints" / "last")
    if name == "trainer.pt":  # not read to play
        load_model(run / "checkpoints" / "last")
    else:
        line = fails(capsys, "eval", "household-unseen", "--policy", str(run))
        assert f"checkpoints/000004/{name} is " in line


def test_a_run_goes_back_to_the_checkpoint_that_is_named(run: Path, whole: Path) -> None:
    flip(run / "checkpoints" / "last" / "model.safetensors")
    Training.resume(run / "checkpoints" / "000003").run()
    assert same(run, whole)
    assert [line["iteration"] for line in Record(run).metrics()] == [0, 1, 2, 3]


def test_what_was_saved_after_it_is_gone(run: Path) -> None:
    checkpoints = run / "checkpoints"
    checkpoint.go_back(checkpoints, checkpoints / "000003")
    assert (checkpoints / "last").resolve().name == "000003"
    assert not (checkpoints / "000004").exists()
    assert (checkpoints / "best").exists()


def test_a_last_checkpoint_that_is_gone_does_not_begin_the_run_again(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / "000004")
    with pytest.raises(UserError, match="000004, which is gone"):
        Training.resume(run, iterations=6)


@pytest.mark.slow
def test_plug_ins_with_a_memory_are_resumed_to_the_bit(tiny_policy: Path, tmp_path: Path) -> None:
    whole = train(tiny_policy, tmp_path / "whole", *REMEMBERS, "iterations=4")
    half = train(tiny_policy, tmp_path / "half", *REMEMBERS, "iterations=2")
    shutil.copytree(half / "checkpoints" / "000002", tmp_path / "000002")
    held = checkpoint.load_state(half / "checkpoints" / "last")
    assert held["credit"]["spo"]
    assert held["sampling"]["source"]["beliefs"]
    assert held["sampling"]["budget"]
    assert held["learner"]["memory"]["epo"]
    Training.resume(half, iterations=4).run()
    assert same(whole, half)
    assert [line["credit"] for line in Record(half).metrics()] == [line["credit"] for line in Record(whole).metrics()]
    held["learner"]["memory"] = {}
    back = half / "checkpoints" / "000002"
    shutil.copytree(tmp_path / "000002", back)
    torch.save(held, back / "trainer.pt")
    (back / "sha256.json").unlink()
    Training.resume(back).run()
    assert not same(whole, half), "what was forgotten made no difference"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(folder)], capture_output=True
    ).returncode:
        pytest.skip("mounting a small disk needs root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def stop_after(monkeypatch: pytest.MonkeyPatch, iterations: int, act: Callable[[], None]) -> None:
    """``act`` when so many iterations are logged: before their checkpoint is written."""
    real = Record.log

    def log(self: Record, metrics: dict) -> None:
        real(self, metrics)
        if metrics["iteration"] + 1 == iterations:
            act()

    monkeypatch.setattr(Record, "log", log)


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint(
    disk: Path, tiny_policy: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, filler = disk / "run", disk / "filler"

    def fill() -> None:
        with filler.open("wb") as file:
            file.write(bytes(shutil.disk_usage(disk).free - (1 << 20)))

    with monkeypatch.context() as patch:
        stop_after(patch, 3, fill)
        with pytest.raises(
            UserError, match=rf"000003 could not be written: No space left on device; the last good one is {run}.*2$"
        ):
            train(tiny_policy, run, "iterations=4")
    assert {path.name for path in (run / "checkpoints").iterdir()} >= {"last", "000002"}
    assert not list((run / "checkpoints").glob(".*"))
    filler.unlink()
    Training.resume(run).run()
    assert same(run, whole)


def test_a_file_that_may_not_grow_leaves_the_last_good_checkpoint(
    tiny_policy: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, (soft, hard) = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_FSIZE)
    try:
        with monkeypatch.context() as patch:
            stop_after(patch, 2, lambda: limit((1 << 20, hard)))
            with pytest.raises(
                UserError, match=r"000002 could not be written: File too large; the last good one is .*000001$"
            ):
                train(tiny_policy, run, "iterations=4")
    finally:
        limit((soft, hard))
    assert not list((run / "checkpoints").glob(".*"))
    Training.resume(run).run()
    assert same(run, whole)
