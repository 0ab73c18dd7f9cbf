"""LoRA: begins as the policy, learns beside it, is its own reference, resumes to the bit, leaves as plain weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.trainers import adapters
from agentrl.trainers.export import export
from agentrl.trainers.loop import Training
from agentrl.trainers.recipe import LoraConfig, Recipe, load

SMALL = [
    "rollout.tasks=2",
    "rollout.group=4",
    "limits.turns=6",
    "limits.turn_tokens=12",
    "kwargs.reward=dense",
    "checkpoint_every=1",
    "evaluate=false",
    "optim.anneal=false",
    "optim.lr=0.01",
    "lora={rank: 4, alpha: 8}",
]
IDS = torch.arange(40)[None] % 37 + 5


def recipe(*changes: str) -> Recipe:
    return load("household-tiny", [*SMALL, *changes])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora") / "run"
    Training.new(recipe("iterations=2", "loss.terms=[{kl: {weight: 0.1}}]"), folder).run()
    return folder


def test_it_begins_as_the_policy_and_only_adapters_learn() -> None:
    model, _ = load_model(locate("small"))
    before = model(IDS).logits
    adapters.add(model, LoraConfig(rank=4), "small", 0)
    torch.testing.assert_close(model(IDS).logits, before, atol=0, rtol=0)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learning == set(adapters.trained(model))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) < 0.1 * sum(
        p.numel() for p in model.parameters()
    )
    with torch.no_grad():
        for name, p in model.named_parameters():
            if ".lora_B." in name:
                p.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(model(IDS).logits, before, atol=0.1)
    with adapters.off(model), torch.no_grad():
        torch.testing.assert_close(model(IDS).logits, before, atol=0, rtol=0)
    assert {name for name, p in model.named_parameters() if p.requires_grad} == learning
    torch.testing.assert_close(adapters.merged(model)(IDS).logits, model(IDS).logits, atol=1e-4, rtol=1e-4)


def test_a_run_moves_adapters_and_no_weight_beside_them(run: Path) -> None:
    last = run / "checkpoints" / "last"
    start, end = load_file(Path(locate("small")) / "model.safetensors"), load_file(last / "model.safetensors")
    assert start.keys() == end.keys()
    moved = {name for name in start if not torch.equal(start[name], end[name])}
    assert moved == {name for name in start if "_proj." in name}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["update"]["logprob_gap"] < 1e-5
    assert lines[1]["update"]["logprob_gap"] < 1e-5  # the sampler was given the adapters
    assert lines[0]["update"]["kl_term"] == pytest.approx(0, abs=1e-3)  # against itself, where it began
    assert lines[1]["update"]["kl_term"] > lines[0]["update"]["kl_term"]


def test_it_resumes_to_the_bit(run: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    Training.new(recipe("iterations=1", "loss.terms=[{kl: {weight: 0.1}}]"), half).run()
    Training.resume(half, iterations=2).run()
    first, second = (adapters.read(folder / "checkpoints" / "last") for folder in (run, half))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_what_is_exported_loads_without_agentrl(run: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    export(str(run), tmp_path / "whole")
    export(str(run), tmp_path / "part", adapter=True)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")
    base = AutoModelForCausalLM.from_pretrained(locate("small"))
    part = peft.PeftModel.from_pretrained(base, str(tmp_path / "part"))
    torch.testing.assert_close(part(IDS).logits, whole(IDS).logits, atol=1e-3, rtol=1e-3)
    with pytest.raises(UserError, match="was trained without adapters"):
        export("small", tmp_path / "none", adapter=True)


def test_a_run_is_a_policy_like_any_other(run: Path) -> None:
    model, _ = load_model(locate(str(run)))
    assert not adapters.adapted(model)


def test_modules_that_are_not_there_are_refused() -> None:
    model, _ = load_model(locate("small"))
    with pytest.raises(UserError, match=r"lora.modules: .*nowhere"):
        adapters.add(model, LoraConfig(modules="nowhere"), "small", 0)
