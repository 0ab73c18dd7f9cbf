"""Attention over a trie: tokens of many sequences laid out depth-first in one row, each seeing its own path only.

Node k is visible to node q iff ``k <= q < end[k]``, k being an ancestor of q or q itself; positions are depths. On a
CPU the queries are cut into blocks and each block attends to the keys gathered along its path: the work is that of
ordinary causal attention less what is shared, and no mask over all pairs of nodes is ever made. On a GPU the rule is
a FlexAttention block mask. Layers with a sliding window see the last ``sliding_window`` tokens of the path.

The tree rides through transformers' forward as a keyword, and the model's layers call :func:`trie_attention`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import embedding, scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from agentrl.errors import UserError

NAME = "agentrl_trie"
BLOCK = 128  # queries that attend together; also what FlexAttention wants lengths to be a multiple of
PAD = 64  # items whose key counts differ by less are computed together

Ints = npt.NDArray[np.int64]


@dataclass(slots=True)
class Bucket:
    """Blocks of queries that are computed as one batch. Indices are nodes; a padded place repeats one that is there."""

    queries: torch.Tensor  # [S, Q]
    keys: torch.Tensor  # [S, K]
    mask: torch.Tensor  # [S, 1, Q, K], True where visible


@dataclass(slots=True)
class Tree:
    """A layout of N nodes. ``chains``: paths from the root on, each with where the nodes begin that are its own."""

    depth: Ints  # [N]
    end: Ints  # [N], one past the last descendant
    chains: list[tuple[Ints, int]]
    calls: int = 0  # layers that attended by this tree in the last forward
    windows: int = 0  # of those, layers that said how far back they see
    _buckets: dict[int | None, tuple[list[Bucket], torch.Tensor]] = field(default_factory=dict)
    _masks: dict[tuple[int | None, int], Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.depth)

    def buckets(self, window: int | None) -> tuple[list[Bucket], torch.Tensor]:
        """Blocks by size, and where each node's row stands in their concatenated outputs [N]."""
        if window not in self._buckets:
            self._buckets[window] = _buckets(self.chains, len(self), window)
        return self._buckets[window]

    def block_mask(self, length: int, window: int | None, device: torch.device) -> Any:
        """FlexAttention's mask over ``length`` places, those beyond the nodes seeing themselves only."""
        from torch.nn.attention.flex_attention import create_block_mask

        if (window, length) not in self._masks:
            extra = np.arange(len(self), length)
            end = torch.from_numpy(np.concatenate([self.end, extra + 1])).to(device)
            depth = torch.from_numpy(np.concatenate([self.depth, np.zeros_like(extra)])).to(device)

            def visible(b: Any, h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
                seen = (k <= q) & (q < end[k])
                return seen if window is None else seen & (depth[q] - depth[k] < window)

            mask = create_block_mask(visible, None, None, length, length, device=device, BLOCK_SIZE=BLOCK)
            self._masks[window, length] = mask
        return self._masks[window, length]


def trie_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Tree | None = None,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """query [1, H, N, D], key and value [1, K, N, D] with K dividing H -> [1, N, H, D]. Without a tree: torch's own.

    Raises UserError for attention that has more to it than queries, keys and values.
    """
    if tree is None:
        plain: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return plain
    more = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if more or dropout:
        raise UserError(f"this model's attention has {' and '.join(more or ['dropout'])}: set optim.batcher to padded")
    tree.calls += 1
    tree.windows += sliding_window is not None
    if query.device.type == "cpu":
        return _by_path(query[0], key[0], value[0], tree, scaling, sliding_window)[None], None
    mask = tree.block_mask(query.shape[2], sliding_window, query.device)
    out = _flex()(query, key, value, block_mask=mask, scale=scaling, enable_gqa=query.shape[1] != key.shape[1])
    return out.transpose(1, 2).contiguous(), None


def _by_path(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, tree: Tree, scaling: float | None, window: int | None
) -> torch.Tensor:
    """query [H, N, D], key and value [K, N, D] -> [N, H, D]."""
    buckets, order = tree.buckets(window)
    q, k, v = (x.transpose(0, 1).flatten(1) for x in (query, key, value))  # [N, heads x D]
    heads, groups, size, grouped = query.shape[0], key.shape[0], query.shape[-1], query.shape[0] != key.shape[0]
    rows = []
    for bucket in buckets:
        at = embedding(bucket.queries, q).view(*bucket.queries.shape, heads, size).transpose(1, 2)
        keys = embedding(bucket.keys, k).view(*bucket.keys.shape, groups, size).transpose(1, 2)
        values = embedding(bucket.keys, v).view(*bucket.keys.shape, groups, -1).transpose(1, 2)
        out = scaled_dot_product_attention(at, keys, values, attn_mask=bucket.mask, scale=scaling, enable_gqa=grouped)
        rows.append(out.transpose(1, 2).flatten(0, 1).flatten(1))
    return embedding(order, torch.cat(rows)).view(len(tree), heads, -1)


def _buckets(chains: list[tuple[Ints, int]], nodes: int, window: int | None) -> tuple[list[Bucket], torch.Tensor]:
    blocks: dict[tuple[int, int], list[tuple[Ints, int, int, int]]] = {}  # path, first key, first and last query
    for path, first in chains:
        edges = [first, *range(first - first % BLOCK + BLOCK, len(path), BLOCK), len(path)]
        for start, stop in pairwise(edges):
            begin = 0 if window is None else max(0, start - window + 1)
            size = (-(-(stop - begin) // PAD), -(-(stop - start) // PAD))
            blocks.setdefault(size, []).append((path, begin, start, stop))
    made: list[Bucket] = []
    order, offset = np.zeros(nodes, np.int64), 0
    for size in sorted(blocks):
        items = blocks[size]
        wide = max(stop - start for _, _, start, stop in items)
        long = max(stop - begin for _, begin, _, stop in items)
        queries, keys = np.zeros((len(items), wide), np.int64), np.zeros((len(items), long), np.int64)
        begins, starts, stops = (np.array([item[i] for item in items])[:, None] for i in (1, 2, 3))
        for row, (path, begin, start, stop) in enumerate(items):
            queries[row, : stop - start] = path[start:stop]
            queries[row, stop - start :] = path[stop - 1]
            keys[row, : stop - begin] = path[begin:stop]
            order[path[start:stop]] = offset + row * wide + np.arange(stop - start)
        at = np.minimum(starts + np.arange(wide), stops - 1)[:, :, None]  # depth of each query
        seen = (begins + np.arange(long))[:, None, :]
        visible = seen <= at
        if window is not None:
            visible &= at - seen < window
        mask = torch.from_numpy(visible)[:, None]
        made.append(Bucket(torch.from_numpy(queries), torch.from_numpy(keys), mask))
        offset += len(items) * wide
    return made, torch.from_numpy(order)


def narrow(config: Any) -> int:
    """How many layers of a text model see a part of what came before only, by its configuration."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return sum(kind in ("sliding_attention", "chunked_attention") for kind in kinds)
    windowed = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return int(config.num_hidden_layers) if windowed else 0


def attend_by(model: Any, name: str) -> None:
    """Let the layers that read tokens attend by ``name``; the part of a model that sees keeps its own attention."""
    config = model.config.get_text_config()
    if config._attn_implementation != name:
        model.set_attn_implementation(name if config is model.config else {"text_config": name})


@functools.cache
def _flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


AttentionInterface.register(NAME, trie_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
