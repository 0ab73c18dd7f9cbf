"""Prompts with images for vLLM. Ids are those that are stored, and so those that are trained on.

The engine is given the very pixels that the trainer sees, and vLLM's own image processor is left out. A server is given
the images, and its processor is asked: what it makes of them must be as many tokens, or the request fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agentrl.policies.base import Request
from agentrl.policies.vision import Picture, Vision, patches, pictured


def for_engine(request: Request, eyes: Vision | None) -> dict[str, Any]:
    """A prompt as vLLM's engine takes it from its own processor. Raises ValueError where ids and images do not fit."""
    import torch
    from vllm.inputs import mm_input
    from vllm.multimodal.inputs import MultiModalFieldConfig, MultiModalKwargsItems, PlaceholderRange

    pictures = pictured(eyes, request.prompt_ids, request.images)
    rows = torch.tensor([len(picture.patches["pixel_values"]) for picture in pictures])
    fields = {
        "pixel_values": MultiModalFieldConfig.flat_from_sizes("image", rows),
        "image_grid_thw": MultiModalFieldConfig.batched("image", keep_on_cpu=True),
    }
    starts = _starts(request.prompt_ids, pictures)
    ranges = [PlaceholderRange(offset=int(at), length=p.tokens) for at, p in zip(starts, pictures, strict=True)]
    prompt: dict[str, Any] = mm_input(
        prompt_token_ids=request.prompt_ids.tolist(),
        mm_kwargs=MultiModalKwargsItems.from_hf_inputs(patches(pictures), fields),
        mm_hashes={"image": [_name(picture) for picture in pictures]},
        mm_placeholders={"image": ranges},
    )
    return prompt


def for_server(request: Request, eyes: Vision | None) -> dict[str, Any]:
    """A prompt as vLLM's token endpoint takes it: one placeholder an image. Raises ValueError as above."""
    pictures = pictured(eyes, request.prompt_ids, request.images)
    ids = request.prompt_ids
    kept = ids != pictures[0].eyes.token_id
    kept[_starts(ids, pictures)] = True
    parts = [{"type": "image_url", "url": picture.url, "uuid": _name(picture)} for picture in pictures]
    return {"token_ids": ids[kept].tolist(), "content_parts": parts}


def _starts(ids: npt.NDArray[Any], pictures: Sequence[Picture]) -> npt.NDArray[np.int64]:
    """Where in ``ids`` [L] the placeholders of each picture begin."""
    at = np.flatnonzero(ids == pictures[0].eyes.token_id)
    first: npt.NDArray[np.int64] = at[np.cumsum([0, *(picture.tokens for picture in pictures[:-1])])]
    return first


def _name(picture: Picture) -> str:
    """Differs between pictures that do: vLLM's caches go by it."""
    return f"{-picture.key:x}"
