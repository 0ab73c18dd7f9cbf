"""From an environment with images to a changed weight, and what is stored on the way."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import vl
from colours import COLOURS, png
from safetensors.torch import load_file

from agentrl import api, store
from agentrl.errors import UserError
from agentrl.policies.load import load_model
from agentrl.trainers.batching import BATCHERS, samples_of
from agentrl.types import Trajectory, images_of

ENV = f"{Path(__file__).parent / 'looks.py'}:Looks-v0"
SMALL = [
    "rollout.tasks=2",
    "rollout.group=3",
    "limits.turn_tokens=5",
    "iterations=2",
    "checkpoint_every=1",
    "evaluate=false",
    "trackers=[]",
    "agent.format=text",
    "threads=1",
    "optim.lr=1e-3",
]


@pytest.fixture(scope="module")
def run(seeing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / seeing.name
    api.train(ENV, policy=str(seeing), out=out, set=SMALL)
    return out


@pytest.fixture(scope="module")
def played(run: Path) -> list[Trajectory]:
    return [t for group in store.read(run / "trajectories" / "000000.parquet") for t in group]


def test_weights_change_and_the_trainer_agrees_with_the_sampler(run: Path, seeing: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["update"]["logprob_gap_max"] < 1e-5
        assert line["update"]["grad_norm"] > 0
        assert not line["failures"]
    before, after = (
        load_file(seeing / "model.safetensors"),
        load_file(run / "checkpoints" / "last" / "model.safetensors"),
    )
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("vis" in name for name in changed), "the part that sees learns as well"
    assert any("mlp" in name and "vis" not in name for name in changed)
    model, tokenizer = load_model(run / "checkpoints" / "last")  # the image processor is saved with the policy
    assert tokenizer.vision.picture(png(COLOURS["red"])).tokens == 4
    assert model.eyes is tokenizer.vision
    assert tokenizer.vision.markup == load_model(seeing)[1].vision.markup == vl.MARKUP


def test_each_image_is_stored_once_beside_the_tables(run: Path, played: list[Trajectory]) -> None:
    shown = {url for t in played for turn in t.turns for url in images_of(turn.observation)}
    files = sorted((run / "trajectories" / "_images").iterdir())
    assert shown
    assert {path.suffix for path in files} == {".png"}
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in files)
    assert len(files) <= 6  # three colours of two sizes, in two iterations
    table = (run / "trajectories" / "000000.parquet").read_bytes()
    assert b"base64" not in table
    assert len(pd.read_parquet(run / "trajectories")) == 12
    for t in played:
        for before, turn in zip([None, *t.turns], t.turns, strict=False):
            assert turn.images == (before.images if before else ()) + tuple(images_of(turn.observation))


def test_the_stored_images_are_those_that_the_logprobs_are_of(seeing: Path, played: list[Trajectory]) -> None:
    def gap(trajectories: list[Trajectory]) -> float:
        model, _ = load_model(seeing)
        turns = sum(len(t.turns) for t in trajectories)
        first = np.cumsum([0, *(len(t.turns) for t in trajectories)])[:-1].tolist()
        samples = samples_of(trajectories, np.zeros(turns), first)
        worst = 0.0
        with torch.no_grad():
            for layout, budget in product(BATCHERS, (1, 4096)):  # alone, and beside others with other images
                for batch in BATCHERS[layout](samples, budget, model):
                    rows = batch.forward(model)
                    worst = max(worst, float((rows.logprobs - rows.old_logprobs).abs().max()))
        return worst

    assert gap(played) < 1e-5
    other = {
        png(c, size): png(COLOURS["red" if name == "blue" else "blue"], size)
        for name, c in COLOURS.items()
        for size in (16, 24)
    }

    def repainted(t: Trajectory) -> Trajectory:
        turns = [replace(turn, images=tuple(other[url] for url in turn.images)) for turn in t.turns]
        return replace(t, turns=turns)

    assert gap([repainted(t) for t in played]) > 1e-3


def test_placeholders_without_their_images_are_refused(seeing: Path, played: list[Trajectory]) -> None:
    model, _ = load_model(seeing)
    samples = [replace(s, images=()) for s in samples_of(played[:1], np.zeros(3), [0])]
    with pytest.raises(ValueError, match="without the images"):
        BATCHERS["padded"](samples, 4096)[0].forward(model)


def test_adapters_and_a_critic_see_as_well(seeing: Path, tmp_path: Path) -> None:
    settings = [*SMALL, "iterations=1", "lora={}", "value={}", "credit=[gae]", "optim.checkpointing=true"]
    api.train(ENV, policy=str(seeing), out=tmp_path / "run", set=settings)
    (line,) = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert line["update"]["logprob_gap_max"] < 1e-5
    assert line["update"]["value_grad_norm"] > 0


def test_a_model_without_eyes_cannot_learn_from_it(played: list[Trajectory]) -> None:
    model, _ = load_model(Path(__file__).parents[2] / "agentrl" / "policies" / "small")
    samples = samples_of(played[:1], np.zeros(3), [0])
    with pytest.raises(UserError, match="takes none"):
        BATCHERS["padded"](samples, 4096)[0].forward(model)


@pytest.mark.slow
def test_what_an_expert_showed_is_learnt(tmp_path: Path) -> None:
    env = f"{Path(__file__).parents[2] / 'examples' / 'colours.py'}:Colours-v0"
    demos = api.collect(env, "expert", 12, tmp_path / "demos")
    losses: list[float] = []

    def note(done: int, steps: int, loss: float) -> None:
        losses.append(loss)

    settings = {"epochs": 35, "batch": 6, "lr": 5e-3, "observation_weight": 0.01}
    api.sft(demos, model=str(vl.small(tmp_path / "new")), out=tmp_path / "policy", progress=note, **settings)
    assert np.isfinite(losses).all()
    # All that tells the colours apart is the images: whoever cannot see them is left with ln 3 a reply of four tokens.
    assert losses[-1] < 0.1, losses[::10]
