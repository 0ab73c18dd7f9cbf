"""A preallocated key-value cache of slots, one a conversation, that a transformers model writes through.

Each layer holds keys and values as [slots, heads, length, head_dim]. A forward works on some slots, each at a position
of its own; what lies beyond a slot's length is rubbish that the mask hides.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.cache_utils import Cache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

USUAL = 2048  # tokens that a conversation seldom exceeds, however long the window


def affordable(config: Any, window: int, dtype: torch.dtype, device: torch.device) -> int:
    """Conversations whose keys and values fit a quarter of the device's memory, at the usual length; at least one.

    Of all memory and not of what is free just now, so that it is the same number on every run.
    """
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
    else:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * head * dtype.itemsize
    return max(1, int(total // 4 // (token * min(window, USUAL))))


class SlotCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Used through ``begin`` (which rows, where) and then the model's own calls of ``update``."""

    def __init__(self, layers: int, slots: int, length: int) -> None:
        super().__init__(layers=[])
        self.slots, self.length = slots, length
        self.keys: list[torch.Tensor | None] = [None] * layers
        self.values: list[torch.Tensor | None] = [None] * layers

    def begin(self, rows: torch.Tensor | slice, write_rows: torch.Tensor, positions: torch.Tensor, seen: int) -> None:
        """Rows [B] (or the first B slots, a slice: then nothing is copied), write positions [B, S], keys to read."""
        self._rows, self._write_rows, self._positions, self._seen = rows, write_rows, positions, seen

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self._layer(key_states, layer_idx)
        where = (self._write_rows[:, None], slice(None), self._positions)
        keys[where] = key_states.transpose(1, 2)
        values[where] = value_states.transpose(1, 2)
        return keys[self._rows, :, : self._seen], values[self._rows, :, : self._seen]

    def copy(self, source: int, target: int, length: int) -> None:
        """Give ``target`` the first ``length`` positions of ``source`` (a prompt that siblings share)."""
        for store in (*self.keys, *self.values):
            if store is not None:
                store[target, :, :length] = store[source, :, :length]

    def grown(self, slots: int, length: int) -> SlotCache:
        """A larger cache that holds what this one held; this one is empty afterwards."""
        larger = SlotCache(len(self.keys), slots, length)
        for source, target in ((self.keys, larger.keys), (self.values, larger.values)):
            for i, store in enumerate(source):
                if store is not None:
                    shape = (slots, store.shape[1], length, store.shape[3])
                    target[i] = bigger = torch.zeros(shape, dtype=store.dtype, device=store.device)
                    bigger[: self.slots, :, : self.length] = store
                    source[i] = None  # a layer at a time: never twice the whole
        return larger

    def get_seq_length(self, layer_idx: int = 0, *args: Any, **kwargs: Any) -> int:
        return 0  # positions are always given

    def _layer(self, like: torch.Tensor, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        keys, values = self.keys[index], self.values[index]
        if keys is None or values is None:
            shape = (self.slots, like.shape[1], self.length, like.shape[3])
            self.keys[index] = keys = torch.zeros(shape, dtype=like.dtype, device=like.device)
            self.values[index] = values = torch.zeros_like(keys)
        return keys, values


def grouped_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention where query heads that share a key head become queries of it: keys are read once, never repeated.

    query [B, H, S, D], key and value [B, K, L, D] with K dividing H, additive mask [B, 1, S, L] -> [B, S, H, D].
    On a CPU decoding is bound by reading keys; with one key head for five query heads this is 6 times faster.
    """
    if attention_mask is None:  # plain causal: transformers' own way
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, None, scaling=scaling, **kwargs
        )
        return plain
    b, h, s, d = query.shape
    k = key.shape[1]
    mask = attention_mask
    if h != k:
        query = query.reshape(b, k, h // k * s, d)
        mask = _repeated(attention_mask, h // k)
    out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return out.reshape(b, h, s, value.shape[-1]).transpose(1, 2).contiguous(), None


def _repeated(mask: torch.Tensor, times: int) -> torch.Tensor:
    """[B, 1, S, L] -> [B, 1, times * S, L], made once and kept with the mask: every layer asks for the same."""
    kept: dict[int, torch.Tensor] = mask.__dict__.setdefault("repeated", {})
    if times not in kept:
        b, one, s, length = mask.shape
        kept[times] = mask[:, :, None].expand(b, one, times, s, length).reshape(b, one, times * s, length)
    return kept[times]


AttentionInterface.register("agentrl_grouped", grouped_attention)
