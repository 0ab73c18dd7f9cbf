"""AdamW alone, or Muon on the matrices: what goes where, and that both resume."""

from __future__ import annotations

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from agentrl.trainers.optimizer import Optimizer


def model(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=64,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            tie_word_embeddings=True,
        )
    )


def steps(net: LlamaForCausalLM, optimizer: Optimizer, count: int) -> None:
    ids = torch.arange(24).reshape(2, 12)
    for _ in range(count):
        net(input_ids=ids, labels=ids).loss.backward()
        optimizer.step(1.0)


def test_adamw_equals_torchs_own() -> None:
    ours, theirs = model(), model()
    steps(ours, Optimizer(ours, 1e-2), 3)
    reference = torch.optim.AdamW(theirs.parameters(), lr=1e-2, weight_decay=0.0, betas=(0.9, 0.95))
    ids = torch.arange(24).reshape(2, 12)
    for _ in range(3):
        theirs(input_ids=ids, labels=ids).loss.backward()
        reference.step()
        reference.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_muon_takes_the_inner_matrices_only() -> None:
    net = model()
    adamw, muon = Optimizer(net, 1e-2, muon=0.02).parts
    inner = {id(p) for group in muon.param_groups for p in group["params"]}
    outer = {id(p) for group in adamw.param_groups for p in group["params"]}
    assert id(net.get_input_embeddings().weight) in outer
    assert inner | outer == {id(p) for p in net.parameters()}
    assert not inner & outer
    assert all(p.ndim == 2 for group in muon.param_groups for p in group["params"])


def test_state_goes_on_where_it_was() -> None:
    whole, first = model(), model()
    steps(whole, Optimizer(whole, 1e-2, muon=0.02), 4)
    optimizer = Optimizer(first, 1e-2, muon=0.02)
    steps(first, optimizer, 2)
    second = model(1)
    second.load_state_dict(first.state_dict())
    resumed = Optimizer(second, 1e-2, muon=0.02)
    resumed.load_state_dict(optimizer.state_dict())
    steps(second, resumed, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))
