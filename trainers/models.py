"""Models and tokenizers: loading a folder or hub name, saving, and making a small one from scratch."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from agentrl.errors import unknown
from agentrl.policies.linear import speed_up
from agentrl.trainers import adapters

# hidden, layers, heads, of keys, feed-forward. One key head: decoding on a CPU is bound by reading keys. Where
# thousands of names are to be told apart, one head of 32 values is narrow: in "1m-mha" each of three has 64 of its own.
SIZES: dict[str, tuple[int, int, int, int, int]] = {
    "1m": (160, 4, 5, 1, 448),
    "1m-mha": (192, 3, 3, 3, 448),
    "2m": (192, 5, 6, 1, 512),
    "5m": (256, 6, 8, 1, 768),
}
ROLES = ("system", "user", "assistant", "tool")
TAGS = ("<think>", "</think>", "<action>", "</action>", "<tool_call>", "</tool_call>")
END, PAD = "<|end|>", "<|pad|>"

# A word with its number ("cabinet 1") is a unit that byte pairs may join, and so is a stock phrase: single tokens are
# copied far sooner by small models. Other words stay apart, so that new combinations are not new tokens.
_NAME = r" ?[A-Za-z]+ \d{1,2}(?!\d)"
_PHRASE = r"[.,:;!?]? ?(?![A-Za-z]+ \d)[A-Za-z']+(?: (?![A-Za-z]+ \d)[A-Za-z']+)*"
_REST = r" ?[A-Za-z']+|\d{1,3}|\s+|[^\sA-Za-z0-9]+"
# The other way to cut: what is between words is never part of one, nor a new line of what follows it, so that a word is
# the same token in a request, in a list and in brackets, and can be copied by a model that does not know what becomes
# what.
_WORDS = r"[A-Za-z']+(?: [A-Za-z']+)*"
_APART = r"[A-Za-z']+|\d{1,3}|\n|[^A-Za-z0-9\n]+"
CUTS = ("phrases", "words")
STOCK_SHARE = 0.004  # of the texts: what a phrase must stand in to be a unit

CHAT_TEMPLATE = """\
{%- if tools %}{%- set listed %}{% for tool in tools %}{{ '\n' }}{{ tool.function | tojson }}{% endfor %}{% endset %}
{%- else %}{% set listed = '' %}{% endif -%}
{%- if messages[0].role != 'system' and listed %}<|system|>Tools:{{ listed }}<|end|>{% endif -%}
{%- for message in messages -%}
<|{{ message.role }}|>{{ message.content or '' }}
{%- if message.role == 'system' and loop.first and listed %} Tools:{{ listed }}{% endif -%}
{%- for call in message.tool_calls or [] -%}
{%- set made = call.function or call -%}
<tool_call>{{ {'name': made.name, 'arguments': made.arguments} | tojson }}</tool_call>
{%- endfor -%}
<|end|>
{%- endfor -%}
{%- if add_generation_prompt %}<|assistant|>{% endif -%}
"""


def train_tokenizer(texts: Iterable[str], vocabulary: int = 1152, tokens: str = "phrases") -> PreTrainedTokenizerFast:
    """A byte-level BPE with the chat template above. The vocabulary is a multiple of 64, every byte is covered.

    ``tokens``: what byte pairs may join. "phrases": a word with the space before it, a word with its number, a stock
    phrase with what stands before it; "words": words and stock phrases alone, the same tokens wherever they stand.
    """
    if vocabulary % 64 or vocabulary < 320:
        raise ValueError(f"a vocabulary is a multiple of 64 from 320 on, not {vocabulary}")
    if tokens not in CUTS:
        raise unknown("kind of tokens", tokens, CUTS)
    texts = list(texts)
    if tokens == "words":
        stock = (re.escape(phrase) + "(?![A-Za-z'])" for phrase in stock_phrases(texts, _WORDS))
        units = "|".join([*stock, _APART])
    else:
        units = "|".join([*map(re.escape, stock_phrases(texts)), _NAME, _REST])
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(units), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [PAD, END, *(f"<|{role}|>" for role in ROLES)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(TAGS),
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(tag, normalized=False) for tag in TAGS])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def stock_phrases(texts: Sequence[str], run: str = _PHRASE) -> list[str]:
    """Runs of several words that stand in many texts, longest first: what an environment says again and again."""
    found = Counter(phrase for text in texts for phrase in set(re.findall(run, text)))
    least = max(3.0, STOCK_SHARE * len(texts))
    common = [
        phrase for phrase, n in found.items() if n >= least and len(re.findall("[A-Za-z']+|[.,:;!?]", phrase)) > 1
    ]
    return sorted(common, key=lambda p: (-len(p), p))


def new_model(size: str, tokenizer: PreTrainedTokenizerFast, window: int, seed: int) -> nn.Module:
    """A Llama of one of :data:`SIZES` with random weights from ``seed``."""
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    hidden, layers, heads, key_heads, inner = SIZES[size]
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_heads,
        head_dim=hidden // heads,
        intermediate_size=inner,
        max_position_embeddings=window,
        initializer_range=0.08,  # narrow layers learn to copy sooner than with the usual 0.02
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    if heads == key_heads:
        _say_what_is_seen(model)
    return speed_up(model)


def _say_what_is_seen(model: LlamaForCausalLM) -> None:
    """Begin with attention that hands on what it looks at: each layer's output projection is its values', transposed.

    A name is then copied as soon as a head finds it; from random weights a head gets no gradient to find what it could
    not say (docs/results/07-web-gui.md).
    """
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.copy_(layer.self_attn.v_proj.weight.T)


def save_policy(folder: Path, model: nn.Module, tokenizer: Any, agent: dict[str, Any]) -> None:
    """A transformers folder plus ``agent.json``: how the policy was taught to talk.

    Of a model with adapters the merged weights, and the adapter in a folder of its own.
    """
    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    if adapters.adapted(model):
        adapters.save(model, folder / adapters.FOLDER)
        model = adapters.merged(model)
    model.save_pretrained(folder)  # type: ignore[operator]
    tokenizer.save_pretrained(folder)
    (folder / "agent.json").write_text(json.dumps(agent, indent=1) + "\n")


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
