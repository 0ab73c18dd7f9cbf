"""The training loop: what a run leaves behind, resumes to the bit, and alarms."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from tiny import same, weights

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.policies.transformers import TransformersPolicy
from agentrl.trainers.loop import Training, _collapsed
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.update import Learner

SMALL = [
    "rollout.tasks=3",
    "rollout.group=4",
    "limits.turns=6",
    "limits.turn_tokens=12",
    "checkpoint_every=2",
    "threads=1",
]


def recipe(policy: Path, *changes: str) -> Recipe:
    return api.recipe_for("household-tiny", [f"policy.path={policy}", *SMALL, *changes])


@pytest.fixture(scope="module")
def whole(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    Training.new(recipe(tiny_policy, "iterations=5", "evaluate=false"), folder).run()
    return folder


def test_a_run_leaves_everything_behind(whole: Path) -> None:
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(5))
    assert all(line["update"]["logprob_gap"] < 1e-5 for line in lines)
    assert all(line["segments_per_episode"] == 1 for line in lines)
    assert all(line["policy"]["prefill_ratio"] <= 1.1 for line in lines)
    for name in ("recipe.yaml", "versions.json", "summary.json", "learning_curve.png", "tensorboard"):
        assert (whole / name).exists(), name
    summary = json.loads((whole / "summary.json").read_text())
    assert {"before", "after", "wall_s", "phases", "seed"} <= summary.keys()
    groups = store.read(whole / "trajectories")
    assert len(groups) == 5 * 3
    assert all(len(group) == 4 and len({t.task.id for t in group}) == 1 for group in groups)
    assert len(pq.read_table(whole / "trajectories" / "000000.parquet")) == 12


def test_weights_change_and_the_same_seed_gives_the_same(whole: Path, tiny_policy: Path, tmp_path: Path) -> None:
    start = load_file(tiny_policy / "model.safetensors")
    assert any(not torch.equal(start[k], v) for k, v in weights(whole).items())
    Training.new(recipe(tiny_policy, "iterations=5", "evaluate=false"), tmp_path / "again").run()
    assert same(whole, tmp_path / "again")
    Training.new(recipe(tiny_policy, "iterations=5", "evaluate=false", "seed=1"), tmp_path / "other").run()
    assert not same(whole, tmp_path / "other")


def test_resume_of_a_finished_run_is_an_error_and_more_iterations_are_not(whole: Path, tiny_policy: Path) -> None:
    with pytest.raises(UserError, match="nothing to resume"):
        Training.resume(whole)
    with pytest.raises(UserError, match="no run"):
        Training.resume(whole.parent / "nothing")
    with pytest.raises(UserError, match="holds a run already"):
        Training.new(recipe(tiny_policy), whole).run()


@pytest.mark.slow
@pytest.mark.timeout(900)  # more than its two processes may take together
@pytest.mark.parametrize("moment", ["rollout", "update", "checkpoint", "late"])
def test_kill_9_and_resume_end_with_the_same_weights(
    whole: Path, tiny_policy: Path, tmp_path: Path, moment: str
) -> None:
    """The run kills itself without warning at a chosen moment, then goes on in a new process."""
    run = tmp_path / "run"
    program = f"""
import os, signal
from pathlib import Path
from typing import Any
from agentrl import api, store
from agentrl.trainers import checkpoint
from agentrl.trainers.loop import Training
from agentrl.trainers.update import Learner
from agentrl.policies.transformers import TransformersPolicy
counts = {{}}
def die(owner, name, at):
    real = getattr(owner, name)
    def wrapped(*args, **kwargs):
        counts[name] = counts.get(name, 0) + 1
        if counts[name] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    setattr(owner, name, wrapped)
moment = {moment!r}
if moment == "rollout": die(TransformersPolicy, "_admit", 20)
if moment == "update": die(Learner, "_step", 6)
if moment == "checkpoint": die(checkpoint, "point", 2)
if moment == "late": die(store, "write", 5)
recipe = api.recipe_for("household-tiny", {[f"policy.path={tiny_policy}", *SMALL, "iterations=5", "evaluate=false"]!r})
Training.new(recipe, Path({str(run)!r})).run()
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=400)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = subprocess.run(
        [sys.executable, "-m", "agentrl", "train", "--resume", str(run)], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert same(whole, run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["iteration"] for line in lines] == list(range(5))
    assert len(store.read(run / "trajectories")) == 15


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_saves_and_says_how_to_go_on(tiny_policy: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "agentrl", "train", "household-tiny", "-o", str(run)]
    for change in [f"policy.path={tiny_policy}", *SMALL, "iterations=500", "evaluate=false"]:
        command += ["--set", change]
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs ignore it
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heard)
    for _ in range(2400):
        if (run / "metrics.jsonl").exists() and len((run / "metrics.jsonl").read_text().splitlines()) >= 3:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=250)
    assert process.returncode == 130
    assert f"agentrl train --resume {run}" in errors
    assert (run / "checkpoints" / "last" / "trainer.pt").exists()


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_the_middle_of_an_update_leaves_no_half_of_it(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """Once: the iteration is finished and saved. Twice: what was saved before stands."""
    settings = ("iterations=3", "evaluate=false", "optim.minibatches=2", "checkpoint_every=1")
    Training.new(recipe(tiny_policy, *settings), tmp_path / "whole").run()
    real = Learner._step
    steps = []

    def step(self: Learner, samples: Any) -> Any:
        found = real(self, samples)
        steps.append(self.steps)
        if len(steps) == 3:  # the first half of the second iteration's update
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return found

    monkeypatch.setattr(Learner, "_step", step)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Training.new(recipe(tiny_policy, *settings), tmp_path / "run").run()
    assert signal.getsignal(signal.SIGINT) is before
    assert json.loads((tmp_path / "run/checkpoints/last/state.json").read_text())["iteration"] == 3 - times
    Training.resume(tmp_path / "run").run()
    assert same(tmp_path / "whole", tmp_path / "run")


def test_a_policy_that_holds_other_weights_stops_the_run(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TransformersPolicy.update

    def corrupt(self: TransformersPolicy, state: dict[str, torch.Tensor], version: int) -> None:
        real(self, state, version)
        with torch.inference_mode():
            self.model.state_dict()["model.layers.1.mlp.down_proj.weight"][3, 5] += 30.0

    monkeypatch.setattr(TransformersPolicy, "update", corrupt)
    with pytest.raises(UserError, match="sampler and trainer disagree"):
        Training.new(recipe(tiny_policy, "iterations=3", "evaluate=false"), tmp_path / "run").run()


def test_before_and_after_are_what_eval_gives(tiny_policy: Path, tmp_path: Path) -> None:
    suite = tmp_path / "short.yaml"
    part = "{env: agentrl/Household-v0, kwargs: {size: tiny}, split: unseen, first: 12}"
    suite.write_text(f"parts:\n  - {part}\nturn_tokens: 12\n")
    made = recipe(tiny_policy, "iterations=2", f"suite={suite}")
    run = Training.new(made, tmp_path / "run").run()
    for policy, found in ((str(tiny_policy), run.before), (str(run.folder), run.after)):
        again = api.evaluate(str(suite), policy)
        assert found is not None
        assert found.items() >= vars(again.overall).items()
        assert found == {key: again.plain()[key] for key in found}
    assert (run.folder / "examples.txt").read_text().count("short/") == 5


def test_collapse_alarm() -> None:
    assert _collapsed([0.5] * 20) is None
    assert _collapsed([0.02] * 10 + [0.0] * 10) is None  # never was good
    assert "collapse" in str(_collapsed(list(np.linspace(0.3, 0.6, 10)) + [0.05] * 6))
