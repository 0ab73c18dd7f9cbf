"""A policy that runs any causal language model of transformers, in this process, on any device.

Requests join a running batch: prompts are computed in right-padded blocks on top of the longest prefix that a slot
still holds, then all running rows sample one token at a time. A request's draws depend on its own seed only.
Left out on purpose: top-p and top-k (a truncated distribution biases the training ratio), beam search.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from agentrl.policies.base import Completion, Counters, Request
from agentrl.policies.earlier import Earlier
from agentrl.policies.kv import SlotCache, affordable
from agentrl.policies.padding import FORWARD, batches
from agentrl.policies.prefixes import generations
from agentrl.policies.row import Row
from agentrl.policies.sampling import sample
from agentrl.policies.vision import Picture, Vision, keyed, looked, patches, pictured, places

BLOCK = 32  # key lengths are rounded up to this, so that memory is reused
MAX_WAIT = 16  # decode steps after which waiting requests are let in however few they are


class TransformersPolicy:
    """Holds ``slots`` conversations of up to ``window`` tokens each; the least recently used one makes room.

    There are no more slots than :func:`agentrl.policies.kv.affordable` says.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str = "policy", slots: int = 128, window: int | None = None
    ) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.model = model.eval().requires_grad_(False)
        config = model.config.get_text_config()
        limit = int(getattr(config, "max_position_embeddings", 0) or 4096)
        self.window = min(window or limit, limit)
        parameter = next(model.parameters())
        self.device, self._dtype = parameter.device, parameter.dtype
        self._eyes: Vision | None = getattr(model, "eyes", None)
        self.version = 0
        self.counters = Counters()
        self.slots = min(slots, affordable(config, self.window, self._dtype, self.device))
        self._layers = int(config.num_hidden_layers)
        self._positions = limit
        self._slow = not full_attention(config, self.window)
        if not self._slow and self.device.type == "cpu" and config._attn_implementation == "sdpa":
            model.set_attn_implementation("agentrl_grouped")
        self._ends = _end_ids(model, tokenizer)
        self._stop_tokens: dict[tuple[str, ...], np.ndarray] = {}
        self._waiting: list[Row] = []
        self._running: list[Row] = []
        self._patience = 0
        self._live: Callable[[], int] | None = None
        self._pump_task: asyncio.Task[None] | None = None
        self._cache = SlotCache(self._layers, 0, 0)
        self._drop_cache()

    # -- the policy protocol ------------------------------------------------------------------------------------

    def expect(self, live: Callable[[], int] | None) -> None:
        self._live = live

    async def generate(self, request: Request) -> Completion:
        """Raises ValueError where prompt and completion cannot fit the window, or there is nothing to do."""
        if not len(request.prompt_ids) or request.max_tokens < 1:
            raise ValueError("a request needs a prompt and at least one token to sample")
        if len(request.prompt_ids) + 1 > self.window:
            raise ValueError(f"a prompt of {len(request.prompt_ids)} tokens does not fit a window of {self.window}")
        loop = asyncio.get_running_loop()
        budget = min(request.max_tokens, self.window - len(request.prompt_ids))
        draws = np.random.Generator(np.random.Philox(key=request.seed % (1 << 63))).random(budget)
        row = Row(request, loop.create_future(), draws, *self._seen(request))
        self._waiting.append(row)
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = loop.create_task(self._pump())
        return await row.future

    def _seen(self, request: Request) -> tuple[Sequence[Picture], np.ndarray | None]:
        """What a prompt shows, and the positions of its tokens then where they do not just count."""
        if not request.images:
            return (), None
        pictures = pictured(self._eyes, request.prompt_ids, request.images)
        return pictures, places(self.model, request.prompt_ids, pictures)

    def update(self, state: dict[str, torch.Tensor], version: int) -> None:
        """Take new weights, also in mid-reply. Keys and values of the old ones are dropped; replies go on by the new.

        Call it where requests are awaited: in the thread of their event loop.
        """
        own = self.model.state_dict()
        with torch.inference_mode():
            for name, value in state.items():
                own[name].copy_(value)
        self.version = version
        for row in self._running:
            row.slot, row.done = -1, 0
        self._waiting, self._running = [*self._running, *self._waiting], []
        self._drop_cache()

    def rest(self) -> None:
        """Nothing: keys and values go at the update."""

    def close(self) -> None:
        """Nothing: all it holds is memory."""

    # -- the batch -------------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        try:
            while self._waiting or self._running:
                await asyncio.sleep(0)  # let environments that are ready step first
                spins = 0
                while self._live is not None and len(self._waiting) + len(self._running) < self._live():
                    spins += 1
                    await asyncio.sleep(0 if spins < 100 else 0.0005)
                self._step()
        except Exception as error:
            for row in (*self._waiting, *self._running):
                if not row.future.done():
                    row.future.set_exception(error)
            self._waiting, self._running = [], []
            self._cache = SlotCache(self._layers, 0, 0)  # it may be half written, and not a number
            self._drop_cache()

    @torch.inference_mode()
    def _step(self) -> None:
        begin = time.perf_counter()
        self._forget_cancelled()
        self._patience += bool(self._waiting)
        if self._waiting and (len(self._waiting) >= len(self._running) or self._patience >= MAX_WAIT):
            self._admit()
            self._patience = 0
        if self._running:
            rows = self._running
            last = [[row.ids[-1]] for row in rows]
            starts = [len(row.request.prompt_ids) + len(row.ids) - 1 for row in rows]
            self._advance(rows, last, starts)
        self.counters.seconds += time.perf_counter() - begin

    def _forget_cancelled(self) -> None:
        for row in self._running:
            if row.future.cancelled():
                self._release(row)
        self._running = [row for row in self._running if not row.future.cancelled()]
        self._waiting = [row for row in self._waiting if not row.future.cancelled()]

    def _admit(self) -> None:
        self._waiting.sort(key=lambda row: row.request.key)
        room = self.slots - len(self._running)
        rows, self._waiting = self._waiting[:room], self._waiting[room:]
        for row in rows:
            self._take_slot(row)
        self._running += rows
        slots = [row.slot for row in rows]
        contexts = [keyed(row.context, row.pictures) for row in rows]
        known = [len(context) if self._slow else row.done for context, row in zip(contexts, rows, strict=True)]
        for generation in generations(contexts, known):
            for i, leader, shared in generation:
                if leader >= 0:
                    self._copy(slots[leader], rows[i], shared)
            self._prefill([rows[i] for i, _, _ in generation])

    def _prefill(self, rows: list[Row]) -> None:
        rows.sort(key=lambda row: len(row.context) - row.done)
        widths = [len(row.context) - row.done for row in rows]
        for part in batches(widths, FORWARD[self.device.type != "cpu"]):
            batch = rows[part]
            blocks = [row.context[row.done :].tolist() for row in batch]
            self.counters.prefill_tokens += sum(map(len, blocks))
            self._advance(batch, blocks, [row.done for row in batch])

    def _advance(self, rows: Sequence[Row], blocks: list[list[int]], starts: list[int]) -> None:
        """Feed each row its block at its position and sample one token for each."""
        logits = self._logits_slow(rows) if self._slow else self._logits(rows, blocks, starts)
        temperatures = torch.tensor([row.request.temperature for row in rows], device=logits.device)
        draws = torch.tensor([row.draws[len(row.ids)] for row in rows], dtype=torch.float64, device=logits.device)
        ids, logprobs, entropies = sample(logits, temperatures, draws)
        self.counters.sampled_tokens += len(rows)
        finished = False
        for row, i, logprob, entropy in zip(rows, ids.tolist(), logprobs.tolist(), entropies.tolist(), strict=True):
            if not row.versions or row.versions[-1][1] != self.version:
                row.versions.append((len(row.ids), self.version))
            row.ids.append(i)
            row.logprobs.append(logprob)
            row.entropies.append(entropy)
            finished |= self._finish(row)
        if finished:
            self._running = [row for row in self._running if row.slot >= 0]

    def _finish(self, row: Row) -> bool:
        stopped = row.ids[-1] in self._ends or self._stops(row)
        if not stopped and len(row.ids) < len(row.draws):
            return False
        self._release(row)
        if not row.future.done():
            row.future.set_result(
                Completion(
                    np.asarray(row.ids, np.int32),
                    np.asarray(row.logprobs, np.float32),
                    np.asarray(row.entropies, np.float32),
                    "stop" if stopped else "length",
                    row.versions,
                    time.perf_counter() - row.started,
                )
            )
        return True

    def _stops(self, row: Row) -> bool:
        stop = row.request.stop
        if not stop or not self._may_stop(stop)[row.ids[-1]]:
            return False
        begun = row.request.prompt_ids[len(row.request.prompt_ids) - row.request.begun :].tolist()
        text = self.tokenizer.decode([*begun, *row.ids][-64:], skip_special_tokens=False)
        return any(s in text for s in stop)

    def _may_stop(self, stop: tuple[str, ...]) -> np.ndarray:
        """Which tokens hold the last letter of a stop string: only after them is the text looked at."""
        if stop not in self._stop_tokens:
            size = self.model.config.get_text_config().vocab_size
            known = min(size, len(self.tokenizer))
            texts = self.tokenizer.batch_decode([[i] for i in range(known)])
            flags = np.zeros(size, bool)
            # A letter may be spread over tokens (shown as U+FFFD), and single tokens may be shown without their space.
            anywhere = any(not s[-1].isascii() or s[-1].isspace() for s in stop)
            flags[:known] = [anywhere or any(s[-1] in text for s in stop) for text in texts]
            self._stop_tokens[stop] = flags
        return self._stop_tokens[stop]

    # -- slots -------------------------------------------------------------------------------------------------------

    def _drop_cache(self) -> None:
        self._held: np.ndarray = np.full((self.slots, self.window), -1, np.int64)  # ids whose keys a slot holds
        self._length = np.zeros(self.slots, np.int64)  # positions of a slot that hold keys
        self._used = np.zeros(self.slots, np.int64)  # when a slot was last used
        self._busy = np.zeros(self.slots, bool)
        self._clock = 0
        self._earlier = Earlier(16 * self.slots)
        if self._cache.length < self.window:
            self._cache = SlotCache(self._layers, 0, 0)

    def _take_slot(self, row: Row) -> None:
        prompt = keyed(row.context, row.pictures)
        n = len(prompt) - 1  # the last token is always computed: its logits are needed
        same = self._held[:, :n] == prompt[:n]
        shared = np.where(same.all(1), n, np.argmin(same, 1)) if n else np.zeros(self.slots, np.int64)
        shared = np.minimum(shared, self._length)
        free = np.where(self._busy, -1, shared)
        slot = int(np.argmax(free))
        # A slot that holds more than a sliver of this very conversation is continued; else the oldest makes room.
        if free[slot] <= 0 or free[slot] < self._length[slot] // 2:
            slot = int(np.argmin(np.where(self._busy, np.iinfo(np.int64).max, self._used)))
        best = int(np.argmax(shared))
        row.slot, row.done = slot, int(shared[slot])
        self._held[slot, : len(prompt)], self._held[slot, len(prompt) :] = prompt, -1
        self._length[slot] = row.done  # what follows is still to be computed
        if shared[best] > row.done:
            self._copy(best, row, int(shared[best]))
        self.counters.new_tokens += len(prompt) - max(row.done, self._earlier.shared(row.request))
        self._busy[slot] = True
        self._clock += 1
        self._used[slot] = self._clock

    def _copy(self, source: int, row: Row, length: int) -> None:
        """Give ``row`` the first keys of another slot, whose ids are the same."""
        self._reserve(row.slot + 1, self._cache.length)
        self._cache.copy(source, row.slot, length)
        row.done = self._length[row.slot] = length

    def _release(self, row: Row) -> None:
        ids = np.concatenate([row.request.prompt_ids, np.asarray(row.ids[:-1], np.int32)])
        self._earlier.keep(row.request, ids)
        self._held[row.slot, : len(ids)] = keyed(ids, row.pictures)
        self._held[row.slot, len(ids) :] = -1
        self._length[row.slot] = len(ids)
        self._busy[row.slot] = False
        row.slot = -1

    # -- the model ---------------------------------------------------------------------------------------------------

    def _logits(self, rows: Sequence[Row], blocks: list[list[int]], starts: list[int]) -> torch.Tensor:
        slots = np.asarray([row.slot for row in rows])
        widths = np.asarray([len(block) for block in blocks])
        top = int(slots.max()) + 1
        contiguous = len(rows) > 0.6 * top  # cheaper to compute the few idle slots than to gather the keys of the rest
        batch = top if contiguous else len(rows)
        index = slots if contiguous else np.arange(len(rows))
        width = int(widths.max())
        seen = int((np.asarray(starts) + widths).max())
        held = int(self._length[:top].max()) if contiguous else 0
        self._reserve(top, -(-(max(seen, held, max(starts)) + width) // BLOCK) * BLOCK)
        ids = np.zeros((batch, width), np.int64)
        positions = np.zeros((batch, width), np.int64)
        if contiguous:  # a slot that is not fed now writes beyond what it holds
            positions += self._length[:top, None] + np.arange(width)
        for i, block, start in zip(index, blocks, starts, strict=True):
            ids[i, : len(block)] = block
            positions[i] = start + np.arange(width)
        seen = -(-seen // BLOCK) * BLOCK
        pos = torch.from_numpy(positions).to(self.device)
        written = torch.arange(top, device=self.device) if contiguous else torch.from_numpy(slots).to(self.device)
        self._cache.begin(slice(0, top) if contiguous else written, written, pos, seen)
        visible = torch.arange(seen, device=self.device)[None, None, None, :] <= pos[:, None, :, None]
        mask = torch.zeros(visible.shape, dtype=self._dtype, device=self.device)  # additive: eager takes it too
        mask.masked_fill_(~visible, torch.finfo(self._dtype).min)
        order = np.argsort(index)  # pictures stand in the order of the batch's rows
        shown = [p for i in order for p in rows[i].shown(starts[i], starts[i] + len(blocks[i]))]
        if any(row.places is not None for row in rows):
            counted = np.broadcast_to(positions, (3, *positions.shape)).copy()
            for i, row, start in zip(index, rows, starts, strict=True):
                counted[:, i] = row.positions(start, width)
            pos = torch.from_numpy(counted).to(self.device)
        hidden = self.model.base_model(
            input_ids=torch.from_numpy(ids).to(self.device),
            position_ids=pos.clamp(max=self._positions - 1),  # padding may lie beyond
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            **{name: value.to(self.device) for name, value in patches(shown).items()},
        )[0]
        self._length[slots] = np.asarray(starts) + widths
        self.counters.forwards += 1
        self.counters.computed_positions += batch * width
        self.counters.used_positions += int(widths.sum())
        last = hidden[torch.from_numpy(index).to(self.device), torch.from_numpy(widths - 1).to(self.device)]
        return head_logits(self.model, last).float()

    def _reserve(self, slots: int, length: int) -> None:
        """Grow the cache (doubling) to hold so many slots and ``length`` positions each: no more than is in use."""
        old = self._cache
        if slots <= old.slots and length <= old.length:
            return
        slots = min(max(slots, 2 * old.slots), self.slots) if slots > old.slots else old.slots
        length = max(length, min(2 * old.length, self.window)) if length > old.length else old.length
        self._cache = old.grown(slots, length)

    def _logits_slow(self, rows: Sequence[Row]) -> torch.Tensor:
        """Whole sequences anew: for models whose state is more than full-attention keys and values."""
        out = []
        for row in rows:
            ids = np.concatenate([row.request.prompt_ids, np.asarray(row.ids, np.int32)]).astype(np.int64)
            given = {"input_ids": torch.from_numpy(ids)[None]}
            given |= looked(self.model, given["input_ids"], [row.request.images]) if row.pictures else {}
            on_device = {name: value.to(self.device) for name, value in given.items()}
            hidden = self.model.base_model(use_cache=False, **on_device)[0]
            out.append(head_logits(self.model, hidden[0, -1:])[0].float())
            self.counters.computed_positions += len(ids)
            self.counters.used_positions += len(ids)
        self.counters.forwards += len(rows)
        return torch.stack(out)


def full_attention(config: Any, length: int) -> bool:
    """Whether every layer sees all earlier tokens of a sequence of ``length``, so that its keys are all its state."""
    kinds = getattr(config, "layer_types", None)
    if kinds:
        return set(kinds) == {"full_attention"}
    return (getattr(config, "sliding_window", None) or length) >= length


def head_logits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Logits [n, V] of final hidden states [n, H], with what some families do after the output matrix."""
    config = model.config.get_text_config()
    logits: torch.Tensor = model.get_output_embeddings()(hidden)
    logits = logits / (getattr(config, "logits_scaling", None) or 1.0)  # Granite
    logits = logits * (getattr(config, "logit_scale", None) or 1.0)  # Cohere
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma
    logits = logits if not cap else cap * torch.tanh(logits / cap)
    placeholders = [getattr(model.config, f"{kind}_token_id", None) for kind in ("image", "video")]
    if hidden_ids := [i for i in placeholders if i is not None]:  # they stand for what was shown, and are never said
        logits[..., hidden_ids] = torch.finfo(logits.dtype).min
    return logits


def _end_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    generation = getattr(model, "generation_config", None)
    ends = getattr(generation, "eos_token_id", None)
    many: list[Any] = ends if isinstance(ends, list) else [ends]
    return frozenset(int(i) for i in [*many, tokenizer.eos_token_id] if i is not None)
