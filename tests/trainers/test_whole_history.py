"""HCPO's consistency: the same tokens with the whole history in view, and a run that learns from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentrl import api, store
from agentrl.agents.chat import AgentConfig
from agentrl.errors import UserError
from agentrl.policies.load import BUNDLED, load_model
from agentrl.trainers import sharded
from agentrl.trainers.batching import samples_of
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import LossConfig, OptimConfig
from agentrl.trainers.record import Record
from agentrl.trainers.update import Learner
from agentrl.trainers.whole_history import WholeHistory

SMALL = ["rollout.tasks=2", "rollout.group=2", "limits.turns=5", "limits.turn_tokens=12", "iterations=1"]
ALWAYS = ["evaluate=false", "threads=1", "loss.terms=[{consistency: {weight: 0.1}}]"]


def run(folder: Path, *changes: str) -> Path:
    Training.new(api.recipe_for("household-tiny", [*SMALL, *changes]), folder).run()
    return folder


def filled(folder: Path, window: int) -> list:
    """The stored episodes' samples with their column ``full``, by the weights that played them."""
    played = [t for group in store.read(folder / "trajectories") for t in group]
    first = np.cumsum([0, *(len(t.turns) for t in played)])[:-1].tolist()
    samples = samples_of(played, np.zeros(sum(len(t.turns) for t in played)), first)
    model, tokenizer = load_model(BUNDLED["small"])
    learner = Learner(model, OptimConfig(), LossConfig())
    WholeHistory(tokenizer, AgentConfig(context=1), window).fill(samples, played, first, learner)
    return samples


def test_where_everything_was_shown_it_is_what_the_sampler_said(tmp_path: Path) -> None:
    for sample in filled(run(tmp_path / "run", "evaluate=false"), 4096):
        on = sample.turn >= 0
        assert on.any()
        np.testing.assert_allclose(sample.columns["full"][on], sample.old_logprobs[on], atol=1e-4)
        assert np.isnan(sample.columns["full"][~on]).all()


def test_a_short_history_differs_from_its_second_turn_on_and_a_run_learns_from_it(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", "agent={context: 0}", *ALWAYS)
    (line,) = Record(folder).metrics()
    assert line["update"]["consistency_term"] > 0
    assert line["segments_per_episode"] > 1
    samples = filled(folder, 4096)
    gaps = [np.abs(s.columns["full"] - s.old_logprobs)[s.turn >= 0].max() for s in samples]
    begins = [s.columns["episode_turn"].max() == 0 for s in samples]
    assert max(gap for gap, first in zip(gaps, begins, strict=True) if first) < 1e-4
    assert max(gap for gap, first in zip(gaps, begins, strict=True) if not first) > 1e-2
    short = filled(folder, max(len(s.ids) for s in samples if s.columns["episode_turn"].max() == 0))
    unknown = [np.isnan(s.columns["full"][s.turn >= 0]).all() for s in short]
    assert any(unknown)
    assert not all(unknown)


def test_what_gives_no_whole_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="and so does the agent"):
        run(tmp_path / "run", *ALWAYS)
    with pytest.raises(UserError, match=r"rollout\.stream and demos do not give"):
        run(tmp_path / "run", "rollout={deterministic: false, stream: true}", "optim.minibatches=1", *ALWAYS)
    with pytest.raises(UserError, match="consistency works in one process only"):
        sharded.check(api.recipe_for("household-tiny", ALWAYS))
