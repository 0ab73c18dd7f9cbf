"""One reply in the making."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agentrl.policies.base import Completion, Request
from agentrl.policies.vision import Picture, within


@dataclass(slots=True)
class Row:
    """A request and what has been sampled for it; ``slot`` is -1 where it has none."""

    request: Request
    future: asyncio.Future[Completion]
    draws: np.ndarray
    pictures: Sequence[Picture] = ()
    places: np.ndarray | None = None  # [3, P] positions of the prompt, where pictures change them
    slot: int = -1
    done: int = 0  # prompt tokens whose keys the slot holds
    ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropies: list[float] = field(default_factory=list)
    versions: list[tuple[int, int]] = field(default_factory=list)
    started: float = field(default_factory=time.perf_counter)

    @property
    def context(self) -> np.ndarray:
        """What the next token follows: the prompt, and what was sampled before the weights changed."""
        prompt = self.request.prompt_ids
        return np.concatenate([prompt, np.asarray(self.ids, np.int32)]) if self.ids else prompt

    def positions(self, start: int, width: int) -> np.ndarray:
        """[3, width] positions as the model counts them."""
        index = start + np.arange(width)
        if self.places is None:
            return np.broadcast_to(index, (3, width))
        last = self.places.shape[1] - 1
        found: np.ndarray = self.places[:, np.minimum(index, last)] + np.maximum(index - last, 0)
        return found

    def shown(self, start: int, stop: int) -> list[Picture]:
        """Pictures whose placeholders stand in this stretch of the context."""
        if not self.pictures:
            return []
        done = within(self.context[:start], self.pictures)
        return within(self.context[:stop], self.pictures)[len(done) :]
