"""The start-up probe: a trie where the model allows it, else what does, with the reason."""

import pytest
import tiny
import torch
from tiny import NO_IDS
from transformers import AutoModelForCausalLM
from transformers.models.gemma2 import Gemma2Config
from transformers.models.gpt2 import GPT2Config
from transformers.models.lfm2 import Lfm2Config
from transformers.models.llama import LlamaConfig, LlamaForCausalLM
from transformers.models.mamba import MambaConfig
from transformers.models.mistral import MistralConfig
from transformers.models.phimoe import PhimoeConfig

from agentrl.trainers import attention
from agentrl.trainers.probe import FALLBACK, choose

SHAPE = tiny.SHAPE | NO_IDS | {"vocab_size": 48}


def made(config):
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).train()


@pytest.mark.parametrize("wanted", FALLBACK)
def test_a_plain_model_gets_what_is_wanted_and_no_gradient(wanted):
    model = made(LlamaConfig(**SHAPE))
    assert choose(model, wanted) == (wanted, None)
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (LlamaConfig(**SHAPE, attention_dropout=0.1), "attention has dropout"),
        (Gemma2Config(**SHAPE, head_dim=8), "attention has softcap"),
        (MambaConfig(vocab_size=48, hidden_size=16, num_hidden_layers=2, state_size=4, **NO_IDS), "forward pass"),
        (Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"]), "1 of this model's 2 layers attend"),
        (PhimoeConfig(**SHAPE, sliding_window=64, num_local_experts=2), "2 of this model's layers have a window"),
        (GPT2Config(vocab_size=48, n_embd=16, n_layer=2, n_head=2, attn_pdrop=0.0, **NO_IDS), "has dropout"),
    ],
    ids=["dropout", "softcap", "recurrent", "recurrent in parts", "windows by masks", "dropout between layers"],
)
def test_others_get_ordinary_rows_and_keep_their_attention(config, reason):
    model = made(config)
    before = model.config._attn_implementation
    batcher, note = choose(model, "trie")
    assert batcher == "padded"
    assert note.startswith("batcher padded instead of trie: ")
    assert reason in note
    assert model.config._attn_implementation == before


def test_windows_that_attention_is_told_of_are_no_hindrance():
    assert choose(made(MistralConfig(**SHAPE, sliding_window=64)), "trie") == ("trie", None)


def test_a_wrong_attention_is_caught(monkeypatch):
    """One that lets siblings see each other, as a mask of the wrong type once did."""
    right = attention.Tree.buckets

    def wrong(tree, window):
        buckets, order = right(tree, window)
        for bucket in buckets:
            bucket.mask = torch.ones_like(bucket.mask)
        return buckets, order

    monkeypatch.setattr(attention.Tree, "buckets", wrong)
    torch.manual_seed(0)
    batcher, note = choose(LlamaForCausalLM(LlamaConfig(**SHAPE)), "trie")
    assert batcher == "padded"
    assert "logprobs differ by" in note
