"""Several processes learn what one does: any share, any loss that is let in, stops, resumes and deaths included."""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from agentrl import api
from agentrl.errors import UserError
from agentrl.policies.load import BUNDLED
from agentrl.trainers import sharded
from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.loop import Training
from agentrl.trainers.losses.objective import objective
from agentrl.trainers.losses.registry import BUILTIN, GIVEN, KINDS, get
from agentrl.trainers.record import Record

PROGRAM = Path(__file__).parent / "sharded_program.py"
SMALL = [
    "rollout.tasks=2",
    "rollout.group=4",
    "limits.turns=5",
    "limits.turn_tokens=10",
    "kwargs.reward=dense",
    "optim.warmup=0",
    "checkpoint_every=1",
    "threads=1",
    "evaluate=false",
]


def torchrun(*args: str, processes: int = 2) -> list[str]:
    patient = ["--shutdown-timeout", "600"]  # seconds in which a stopped run may save
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", *patient]
    return [*launcher, "--nproc-per-node", str(processes), *args]


def train(*args: str) -> list[str]:
    return torchrun("-m", "agentrl", "train", *args)


@pytest.mark.slow
@pytest.mark.timeout(900)  # more than its waits together
@pytest.mark.parametrize("processes", [2, 4])
def test_weights_and_metrics_are_those_of_one_process(processes: int, tmp_path: Path) -> None:
    """Also where a checkpoint goes from several processes to one and back: ``again``."""
    program = runpy.run_path(str(PROGRAM))
    learner, result = program["learner"], program["result"]
    names = [*program["CASES"]] if processes == 2 else ["float32", "gspo with terms"]
    jobs = {name: (name, None, 0, 3) for name in names}
    jobs |= {"first": ("ppo", None, 0, 1), "again": ("ppo", "first", 2, 3)}
    torch.save(jobs, tmp_path / "jobs.pt")
    command = torchrun(str(PROGRAM), str(tmp_path / "jobs.pt"), str(tmp_path / "found.pt"), processes=processes)
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr[-3000:]
    found = torch.load(tmp_path / "found.pt", weights_only=False)
    for name in [*names, "again"]:
        case, _, first, last = jobs[name]
        alone, before = learner(case), learner(case).weights()
        expected = result(alone, range(last))
        exact = 1e-5 if case == "float32" else 1e-12
        for key, weight in expected["weights"].items():
            assert (weight - before[key]).abs().max() > 1e-3, "nothing was learnt"
            for kind in ("weights", "plain"):
                torch.testing.assert_close(found[name][kind][key], weight, rtol=0, atol=exact)
        for one, other in zip(expected["metrics"][first:], found[name]["metrics"], strict=True):
            assert other == pytest.approx(one, rel=1e-5, abs=1e-6)


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=12), min_size=1, max_size=12), st.integers(1, 5))
def test_a_share_is_a_partition_and_none_is_larger_than_its_part_and_one_sample(made: list, parts: int) -> None:
    zeros = np.zeros(1, np.float32)
    samples = [Sample(np.array(ids, np.int32), zeros, zeros, zeros, zeros, k) for k, ids in enumerate(made)]
    found = sharded.share(samples, parts, together=False)
    assert len(found) == parts
    assert sorted(s.trajectory for part in found for s in part) == list(range(len(samples)))
    total, longest = sum(map(len, made)), max(map(len, made))
    assert all(sum(len(s.ids) for s in part) <= total / parts + longest for part in found)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in BUILTIN[kind] if not get(kind, name).whole]
)
def test_a_pass_without_rows_is_nothing_to_any_loss_that_is_let_in(kind: str, name: str) -> None:
    program = runpy.run_path(str(PROGRAM))
    full = program["samples"]()[0]
    full.columns = {need: np.zeros(len(full.ids), np.float32) for need in (*GIVEN, "sampler", "lag", "episode_turn")}
    (batch,) = BATCHERS["padded"]([sharded._nothing(full)], 1)
    rows = batch.forward(program["model_of"]("float32", True))
    made = objective(**{"policy": name} if kind == "policy" else {f"{kind}s": [name]})
    gradient, metrics = made.gradient(rows)
    assert all(len(values) == 0 for values in gradient.values())
    assert set(metrics.values()) == {0.0}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("loss.policy=bapo", "loss bapo"),
        ("loss.terms=[{epo: {weight: 0.1}}]", "loss epo"),
        ("optim.muon=0.01", "optim.muon"),
        ("lora={}", "lora"),
        ("value={}", "value"),
        ("loss.old=ema", "loss.old=ema"),
        ("policy.engine=vllm", "policy.engine=vllm"),
    ],
)
def test_what_is_exact_in_one_process_only_is_refused(change: str, named: str) -> None:
    recipe = api.recipe_for("household-tiny", [change])
    with pytest.raises(UserError, match=rf"^{named}.* works in one process only"):
        sharded.check(recipe)
    sharded.check(api.recipe_for("household-tiny", []))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last" / "model.safetensors")


def metrics(run: Path) -> list[dict]:
    return Record(run).metrics()


def after(run: Path, iterations: int, process: subprocess.Popen) -> None:
    """Wait until a run has done so many."""
    for _ in range(2400):
        if len(metrics(run)) >= iterations:
            return
        assert process.poll() is None, "it ended too soon"
        time.sleep(0.1)
    raise AssertionError(f"no {iterations} iterations in four minutes")


@pytest.mark.slow
@pytest.mark.timeout(900)  # more than its waits together
def test_ctrl_c_saves_what_one_process_goes_on_with(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    changes = [word for change in SMALL for word in ("--set", change)]
    with log.open("w") as file:
        process = subprocess.Popen(
            train("household-tiny", "-o", str(run), *changes, "--set", "iterations=500"),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        after(run, 2, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(400) != 0
    assert f"go on with: agentrl train --resume {run}" in log.read_text(), log.read_text()
    done = int((run / "checkpoints" / "last").resolve().name)
    Training.resume(run, iterations=done + 1).run()
    assert len(metrics(run)) == done + 1
    found, start = weights(run), load_file(BUNDLED["small"] / "model.safetensors")
    assert found.keys() == start.keys()
    assert not any(torch.equal(found[key], weight) for key, weight in start.items())
    one = api.recipe_for("household-tiny", [*SMALL, "iterations=1"])
    Training.new(one, tmp_path / "one").run()
    first = metrics(tmp_path / "one")[0]["update"]
    assert metrics(run)[0]["update"] == pytest.approx(first, rel=1e-2, abs=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)  # more than its waits together
def test_a_run_of_one_process_goes_on_in_two_and_ends_when_one_of_them_dies(tmp_path: Path) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    Training.new(api.recipe_for("household-tiny", [*SMALL, "iterations=1"]), run).run()
    with log.open("w") as file:
        process = subprocess.Popen(
            train("--resume", str(run), "--set", "iterations=500"),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
        after(run, 3, process)
        os.kill(_child(process.pid, rank=1), signal.SIGKILL)
        assert process.wait(400) != 0
    lines = log.read_text().splitlines()
    assert sum(line.startswith("error: another process of this run has ended") for line in lines) == 1, lines
    assert int((run / "checkpoints" / "last").resolve().name) >= 2


def _child(parent: int, rank: int) -> int:
    """The process that torchrun gave ``rank`` to."""
    for task in Path(f"/proc/{parent}/task").iterdir():
        for pid in (task / "children").read_text().split():
            with contextlib.suppress(OSError):  # one that has just ended
                if f"RANK={rank}" in Path(f"/proc/{pid}/environ").read_text().split("\0"):
                    return int(pid)
    raise AssertionError(f"no process of rank {rank}")
