"""Rollouts ahead of the trainer: in order, bounded, stopped cleanly, and nothing lost or trained on twice."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.episode import Job
from agentrl.trainers.ahead import Ahead
from agentrl.trainers.iteration import usable
from agentrl.trainers.journal import read
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import Recipe, RolloutConfig
from agentrl.trainers.spares import fill, with_spares
from agentrl.types import Group, StopReason, Task, Trajectory

TASK = Task("E-v0", 0)


class Plays:
    """Iterations that are played when a test says so."""

    def __init__(self, seconds: Callable[[int], float] = lambda i: 0.0) -> None:
        self.begun: list[int] = []
        self.over: list[int] = []
        self.seconds = seconds

    async def __call__(self, iteration: int) -> list[Group]:
        self.begun.append(iteration)
        await asyncio.sleep(self.seconds(iteration))
        self.over.append(iteration)
        return [Group(TASK, f"{iteration}")]


@pytest.mark.parametrize("staleness", [0, 1, 3])
def test_never_further_ahead_than_allowed_and_never_past_the_end(staleness: int) -> None:
    plays = Plays()
    ahead = Ahead(plays, staleness, end=5)
    for i in range(5):
        assert [group.id for group in ahead.take(i)] == [f"{i}"]
        ahead.call(lambda: None)
        assert plays.begun == list(range(min(i + staleness + 1, 5)))
    ahead.close()


def test_a_slow_iteration_is_waited_for_while_later_ones_are_played() -> None:
    plays = Plays(lambda i: 0.3 if i == 0 else 0.0)
    ahead = Ahead(plays, 2, end=3)
    assert [ahead.take(i)[0].id for i in range(3)] == ["0", "1", "2"]
    assert plays.over == [1, 2, 0]
    ahead.close()


def test_functions_run_in_the_thread_of_the_rollouts() -> None:
    ahead = Ahead(Plays(), 1, end=2)
    assert ahead.call(threading.current_thread).name == "rollouts"
    ahead.close()
    ahead.close()


def test_what_is_raised_while_playing_reaches_the_trainer() -> None:
    async def broken(iteration: int) -> list[Group]:
        raise UserError("mend this")

    ahead = Ahead(broken, 1, end=2)
    with pytest.raises(UserError, match="mend this"):
        ahead.take(0)
    ahead.close()


def test_closing_stops_what_is_played() -> None:
    plays = Plays(lambda i: 1000.0 if i else 0.0)
    ahead = Ahead(plays, 2, end=9)
    ahead.take(0)
    begin = time.monotonic()
    ahead.close()
    assert time.monotonic() - begin < 5
    assert plays.over == [0]
    assert not ahead._thread.is_alive()


def jobs(*sizes: int) -> list[Job]:
    return [Job(f"{g}-{r}", TASK, 10 * g + r, group=f"{g}", key=(g, r)) for g, n in enumerate(sizes) for r in range(n)]


def played(job: Job, stop: StopReason = StopReason.TERMINATED) -> Trajectory:
    return Trajectory(job.id, TASK, job.seed, stop=stop, group=job.group)


def test_spares_stand_with_their_group_and_take_the_places_of_broken_ones_only() -> None:
    work = jobs(2, 1)
    asked = with_spares(work, 1)
    assert [job.id for job in asked] == ["0-0", "0-1", "0-1+0", "1-0", "1-0+0"]
    assert [job.spare for job in asked] == [False, False, True, False, True]
    assert len({job.seed for job in asked}) == len({job.key for job in asked}) == 5
    ends = {"0-0": StopReason.ENV_ERROR, "1-0": StopReason.ENV_TIMEOUT, "1-0+0": StopReason.ENV_ERROR}
    done = [played(job, ends.get(job.id, StopReason.TERMINATED)) for job in asked]
    assert [t.id for t in fill(work, asked, done)] == ["0-1+0", "0-1", "1-0"]


def test_what_broken_episodes_leave_of_a_group() -> None:
    whole, part, one = (Group(TASK, name, [played(job) for job in jobs(3)]) for name in "abc")
    part.trajectories[0].stop = StopReason.ENV_CRASH
    for t in one.trajectories[:2]:
        t.stop = StopReason.ENV_CRASH
    ids = {word: [g.id for g in usable([whole, part, one], RolloutConfig(broken=word))] for word in ("viable", "retry")}  # type: ignore[arg-type]
    assert ids == {"viable": ["a", "b"], "retry": ["a"]}


def test_what_depends_on_who_is_first_is_refused_where_the_order_is_fixed() -> None:
    for change in ("rollout.staleness=1", "rollout.spares=1"):
        with pytest.raises(UserError, match="needs deterministic: false"):
            api.recipe_for("household-tiny", [change])


def recipe(policy: Path, *changes: str) -> Recipe:
    small = ["rollout.tasks=2", "rollout.group=2", "limits.turns=2", "limits.turn_tokens=8", "checkpoint_every=2"]
    free = ["threads=1", "evaluate=false", "optim.minibatches=1", "rollout.deterministic=false", "rollout.staleness=2"]
    return api.recipe_for("household-tiny", [f"policy.path={policy}", *small, *free, *changes])


@pytest.mark.slow
def test_a_run_ahead_trains_on_every_episode_once_and_resumes_with_what_was_finished(
    tiny_policy: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    Training.new(recipe(tiny_policy, "iterations=4"), run).run()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["episodes"] for line in lines] == [4, 8, 12, 16]
    assert all(line["lag"]["max"] <= min(2, line["iteration"]) for line in lines)
    assert all(line["update"]["logprob_gap"] < 1e-5 for line in lines)
    sampled = sum(t.sampled_tokens for group in store.read(run / "trajectories") for t in group)
    told = sum(line["tokens_per_second"] * line["time"]["sampling"] for line in lines)
    assert told == pytest.approx(sampled)
    groups = store.read(run / "trajectories")
    ids = [t.id for group in groups for t in group]
    assert len(ids) == len(set(ids)) == 16
    for group in groups:
        trained = int(group.id.partition("-")[0])
        versions = {v for t in group for turn in t.turns for _, v in turn.versions}
        assert all(trained - 2 <= v <= trained for v in versions)

    # A run that was cut after iteration 2: what was finished by then is not played again.
    cut = tmp_path / "cut"
    half = Training.new(recipe(tiny_policy, "iterations=5"), cut)
    seen = []

    class Stop(KeyboardInterrupt):
        pass

    def interrupt(metrics: dict[str, int], total: int) -> None:
        seen.append(metrics["iteration"])
        if len(seen) == 3:
            raise Stop

    half.observer.iteration = interrupt  # type: ignore[method-assign]
    with pytest.raises(Stop):
        half.run()
    assert (cut / "checkpoints" / "last").resolve().name == "000002"
    kept = {t.id for t in read(cut / "journal")}
    again = Training.resume(cut)
    replayed: list[str] = []
    again.observer.episode = lambda t: replayed.append(t.id)  # type: ignore[method-assign]
    again.run()
    assert not kept & set(replayed)
    ids = [t.id for group in store.read(cut / "trajectories") for t in group]
    assert len(ids) == len(set(ids)) == 20


@pytest.mark.parametrize("staleness", [0, 2])
def test_what_was_finished_when_a_run_is_stopped_is_not_played_again(
    tiny_policy: Path, tmp_path: Path, staleness: int
) -> None:
    settings = ("iterations=2", f"rollout.staleness={staleness}", "rollout.concurrency=1", "rollout.spares=1")
    half = Training.new(recipe(tiny_policy, *settings), tmp_path / "run")
    done: list[str] = []

    def third(trajectory: Trajectory) -> None:
        done.append(trajectory.id)
        if len(done) == 3:  # of an iteration of four, and two spares
            signal.raise_signal(signal.SIGINT)

    half.observer.episode = third  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        half.run()
    kept = {t.id for t in read(tmp_path / "run" / "journal")}
    assert kept == {*done}
    again = Training.resume(tmp_path / "run")
    played: list[str] = []
    again.observer.episode = lambda t: played.append(t.id)  # type: ignore[method-assign]
    again.run()
    assert not kept & {id for id in played if "+" not in id}
    stored = [t.id for group in store.read(tmp_path / "run" / "trajectories") for t in group]
    assert len(stored) == len(set(stored)) == 8
    assert {id for id in kept if "+" not in id} <= {*stored}
    assert not (tmp_path / "run" / "journal").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("moment", ["rollout", "update"])
def test_kill_9_loses_no_finished_episode(tiny_policy: Path, tmp_path: Path, moment: str) -> None:
    """The run kills itself in its second iteration; what its observer had seen end by then is trained on as it is."""
    settings = ("iterations=4", "checkpoint_every=1", "rollout.concurrency=2")
    settings += ("rollout.staleness=0",) if moment == "rollout" else ("rollout.staleness=1",)
    program = f"""
import os, signal
from pathlib import Path
from agentrl import api, store
from agentrl.trainers.loop import Training
from agentrl.types import Group
from agentrl.trainers.recipe import Recipe
ends = []
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def episode(t):
    ends.append(t)
    store.write(Path({str(tmp_path)!r}) / "seen", t.id, [Group(t.task, t.id, [t])])
    if {moment!r} == "rollout" and len(ends) == 6:
        die()
def phase(name, total):
    if {moment!r} == "update" and name == "update" and any(t.id.startswith("000001") for t in ends):
        if (run / "checkpoints" / "last").resolve().name == "000001":
            die()
run = Path({str(tmp_path / "run")!r})
training = Training.new(Recipe.model_validate({recipe(tiny_policy, *settings).model_dump(mode="json")!r}), run)
training.observer.episode, training.observer.phase = episode, phase
training.run()
"""
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=250)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    seen = {t.id: t for group in store.read(tmp_path / "seen") for t in group if not t.id.startswith("000000")}
    assert len(seen) >= (2 if moment == "rollout" else 4)
    again = Training.resume(tmp_path / "run")
    played: list[str] = []
    again.observer.episode = lambda t: played.append(t.id)  # type: ignore[method-assign]
    again.run()
    assert not seen.keys() & {*played}
    stored = [t for group in store.read(tmp_path / "run" / "trajectories") for t in group]
    assert len(stored) == len({t.id for t in stored}) == 16
    for t in stored:
        if t.id in seen:
            for turn, known in zip(t.turns, seen[t.id].turns, strict=True):
                assert turn.completion_ids.tolist() == known.completion_ids.tolist()
                assert turn.logprobs.tolist() == known.logprobs.tolist()
    assert seen.keys() <= {t.id for t in stored}


@pytest.mark.slow
def test_a_policy_that_holds_other_weights_ends_a_run_ahead(
    tiny_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = TransformersPolicy.update

    def corrupted(policy: TransformersPolicy, state: dict[str, torch.Tensor], version: int) -> None:
        name = next(name for name in state if name.endswith("down_proj.weight"))
        update(policy, state | {name: 2 * state[name]}, version)

    monkeypatch.setattr(TransformersPolicy, "update", corrupted)
    with pytest.raises(UserError, match="sampler and trainer disagree"):
        Training.new(recipe(tiny_policy, "iterations=6", "loss.max_logprob_gap=0.0001"), tmp_path / "run").run()
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) <= 3  # as soon as such tokens come
