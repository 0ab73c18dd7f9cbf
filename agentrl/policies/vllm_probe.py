"""What an engine and its trainer are compared on after an update: a prompt, with a picture for those that see."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import torch

from agentrl.policies.base import Request
from agentrl.policies.vision import Vision, looked, noise
from agentrl.types import FloatArray, IntArray

TEXT, TOKENS = "You are here. What now?", 32


def question(tokenizer: Any, eyes: Vision | None, seed: int) -> Request:
    images = () if eyes is None else (noise(np.random.default_rng(0), 32, 32),)
    ids = tokenizer(TEXT if eyes is None else eyes.markup + TEXT, add_special_tokens=False)["input_ids"]
    prompt = np.asarray(ids if eyes is None else eyes.expanded(ids, images), np.int32)
    return Request(prompt, TOKENS, seed=seed, temperature=0.0, images=images)


def judged(trainer: Any, state: dict[str, Any], asked: Request, said: IntArray, unsaid: Collection[int]) -> FloatArray:
    """Logprobs of the ids that were ``said`` [n], by the trainer with the weights of ``state``.

    ``unsaid``: ids that are never sampled.
    """
    row = torch.from_numpy(np.concatenate([asked.prompt_ids, said])).long()[None]
    given = looked(trainer, row, [asked.images]) if asked.images else {}
    with torch.inference_mode():
        device = next(trainer.parameters()).device
        row, given = row.to(device), {name: value.to(device) for name, value in given.items()}
        first = len(asked.prompt_ids)
        logits = torch.func.functional_call(trainer, state, (row,), given).logits[0, first - 1 : -1].float()
        logits[:, [*unsaid]] = torch.finfo(logits.dtype).min
        found: FloatArray = torch.log_softmax(logits, -1).gather(-1, row[0, first:, None])[:, 0].cpu().numpy()
    return found
