"""Memory: what a run says before it begins, and what is said where there was too little, by phase."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl import api
from agentrl.errors import UserError
from agentrl.trainers import memory, sft
from agentrl.trainers.batching import Sample
from agentrl.trainers.recipe import LossConfig, OptimConfig
from agentrl.trainers.update import Learner

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def learner() -> Learner:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, num_key_value_heads=2, **SHAPE))
    return Learner(model, OptimConfig(lr=1e-2), LossConfig(max_logprob_gap=99))


def samples() -> list[Sample]:
    ids, zeros = np.arange(20, dtype=np.int32), np.zeros(20, np.float32)
    return [Sample(ids, zeros + 1, zeros - 4, zeros + 1, np.full(20, 0, np.int32), 0)]


def too_much(*_: Any) -> Any:
    """What torch itself raises where the memory does not suffice."""
    return torch.empty(1 << 50)


class Heavy(torch.autograd.Function):
    """Nothing forward, and too much backward."""

    forward = staticmethod(lambda ctx, x: x.clone())
    backward = staticmethod(too_much)


@pytest.mark.parametrize("name", ["forward", "backward"])
def test_out_of_memory_names_the_phase_and_three_knobs(name: str) -> None:
    made = learner()
    layer = made.model.get_submodule("model.layers.0")
    layer.register_forward_hook(too_much if name == "forward" else lambda m, args, out: Heavy.apply(out))
    with pytest.raises(UserError, match=rf"^out of memory in a {name} pass of the update \(19 positions\)") as error:
        made.update(samples(), 0)
    for knob in ("optim.positions", "optim.checkpointing", "optim.bf16"):
        assert knob in str(error.value)


def test_out_of_memory_in_supervised_fine_tuning_names_its_own() -> None:
    model = learner().model
    model.get_submodule("model.layers.0").register_forward_hook(too_much)
    told = [replace(sample, columns={"noise": np.zeros(20, np.float32)}) for sample in samples()]
    with pytest.raises(UserError, match=r"^out of memory in a pass of sft \(.*\): lower positions, or set bf16"):
        sft.fit(model, told, sft.SFTConfig())


def test_out_of_memory_in_the_optimisers_step(monkeypatch: pytest.MonkeyPatch) -> None:
    made = learner()
    monkeypatch.setattr(made.optimizer, "step", too_much)
    with pytest.raises(UserError, match="out of memory in the optimiser's step"):
        made.update(samples(), 0)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory.phase("x"):
        raise RuntimeError("shapes differ")
    with pytest.raises(UserError, match="out of memory in x"), memory.phase("x"):
        raise MemoryError
    with pytest.raises(UserError, match="out of memory in x"), memory.phase("x"):
        raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_estimate_grows_with_its_knobs_and_warns_where_it_cannot_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    model = learner().model

    def told(*changes: str) -> int:
        return int(memory.estimate(model, api.recipe_for("household-tiny", changes), 5).split()[1])

    assert told("optim.positions=65536") > told() > told("optim.checkpointing=true") - 1
    assert memory.available(torch.device("cpu")) or not sys.platform.startswith("linux")
    monkeypatch.setattr(memory, "available", lambda device: 1 << 20)
    line = memory.estimate(model, api.recipe_for("household-tiny", []), 5)
    assert "1 MiB are free: lower optim.positions" in line


def test_a_gradient_that_is_not_finite_stops_the_run_and_says_so() -> None:
    made = learner()
    with torch.no_grad():
        made.model.get_submodule("lm_head").weight.mul_(float("inf"))
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    with pytest.raises(UserError, match=r"^collapse: the gradient is nan at optimiser step 0; lower optim\.lr"):
        made.update(samples(), 0)
    for name, value in made.model.state_dict().items():
        torch.testing.assert_close(value, before[name], equal_nan=True)
