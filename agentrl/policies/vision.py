"""Pictures for vision-language models: what a data URL becomes in prompt ids and in the model's input.

A picture stands in a prompt as a run of placeholder ids, as many as the model makes of it; those are the ids that are
stored and trained on. No policy samples a placeholder (:func:`agentrl.policies.transformers.head_logits`) and none is
read from text, so the k-th picture of a prompt always owns the next ``tokens`` placeholders. For models that take
pictures as Qwen-VL does (patches of all of them in one row, and a grid each), or as InternVL does (tiles of one size).
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from agentrl.errors import UserError
from agentrl.types import Content, IntArray

TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "internvl")
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")
LARGEST = 1 << 24  # pixels
REMEMBERED = 256  # pictures whose patches are kept


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture as a model sees it. ``key`` is below -1 and differs between pictures that do."""

    url: str
    key: int
    tokens: int  # placeholders in a prompt
    eyes: Vision

    @property
    def patches(self) -> dict[str, torch.Tensor]:
        """``pixel_values`` [patches, values] and ``image_grid_thw`` [1, 3]; of tiles the former only."""
        return self.eyes.look(self.url)


class Vision:
    """A model's image processor. ``picture`` is cheap for what was seen before."""

    def __init__(self, processor: Any, tokenizer: Any, config: Any) -> None:
        self.processor = processor
        self.token_id = int(config.image_token_id)
        self.token: str = tokenizer.convert_ids_to_tokens(self.token_id)
        self._tile = int(getattr(config, "image_seq_length", 0))  # placeholders a tile
        start, end = (_mark(tokenizer, config, name) for name in ("start", "end"))
        self.markup = f"{start}{self.token}{end}"
        self._tokens: dict[int, int] = {}  # by key
        self._patches: OrderedDict[str, dict[str, torch.Tensor]] = OrderedDict()

    def __deepcopy__(self, memo: Any) -> Vision:
        return self  # nothing in it changes what it answers

    def picture(self, url: str) -> Picture:
        """Raises ValueError for what is no picture."""
        key = -2 - int.from_bytes(hashlib.sha256(url.encode()).digest()[:7], "big")
        if key not in self._tokens:
            seen = self.look(url)
            if "image_grid_thw" in seen:
                self._tokens[key] = int(seen["image_grid_thw"].prod()) // int(self.processor.merge_size) ** 2
            else:
                self._tokens[key] = len(seen["pixel_values"]) * self._tile
        return Picture(url, key, self._tokens[key], self)

    def look(self, url: str) -> dict[str, torch.Tensor]:
        seen = self._patches.pop(url, None)  # each step whole, because an engine's thread looks as well
        if seen is None:
            found = self.processor(_decoded(url), return_tensors="pt")
            seen = {name: found[name] for name in ("pixel_values", "image_grid_thw") if name in found}
        self._patches[url] = seen
        if len(self._patches) > REMEMBERED:
            self._patches.popitem(last=False)
        return seen

    def text(self, content: Content) -> str:
        """What a message says, with one placeholder a picture. A placeholder that is written out is broken in two."""
        if isinstance(content, str):
            return content.replace(self.token, f"{self.token[0]} {self.token[1:]}")
        said = [None if "image" in part else part["text"] for part in content]
        runs = [list(run) for _, run in groupby(said, lambda text: text is None)]  # neighbours may spell one together
        return "".join(
            self.markup * len(run) if run[0] is None else self.text("".join(filter(None, run))) for run in runs
        )

    def expanded(self, ids: Sequence[int], urls: Sequence[str]) -> list[int]:
        """``ids`` with each placeholder repeated as often as its picture wants; one without a picture is dropped."""
        pictures = iter([self.picture(url) for url in urls])
        found: list[int] = []
        for i in ids:
            if i != self.token_id:
                found.append(i)
            elif picture := next(pictures, None):
                found += [i] * picture.tokens
        return found


class SeeingTokenizer:
    """A tokenizer with the image processor that belongs to it; in everything else the tokenizer itself."""

    def __init__(self, tokenizer: Any, vision: Vision) -> None:
        self.tokenizer, self.vision = tokenizer, vision

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["tokenizer"], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tokenizer(*args, **kwargs)

    def __len__(self) -> int:
        return len(self.tokenizer)

    def save_pretrained(self, folder: str | Path) -> None:
        self.tokenizer.save_pretrained(folder)
        self.vision.processor.save_pretrained(folder)


def keyed(ids: IntArray, pictures: Sequence[Picture]) -> npt.NDArray[np.int64]:
    """``ids`` [L] where a picture's placeholders are its key, so that equal keys mean that the same was seen.

    ``ids`` may end anywhere, but begin before the first picture.
    """
    keys = ids.astype(np.int64)
    if pictures:
        where = np.flatnonzero(ids == pictures[0].eyes.token_id)
        owners = np.repeat([p.key for p in pictures], [p.tokens for p in pictures])
        keys[where] = owners[: len(where)]
    return keys


def within(ids: npt.NDArray[Any], pictures: Sequence[Picture]) -> list[Picture]:
    """Those whose placeholders stand in ``ids``. Raises ValueError where others do, or half of one."""
    count = int((ids == pictures[0].eyes.token_id).sum()) if pictures else 0
    totals = np.cumsum([0, *(picture.tokens for picture in pictures)])
    n = int(np.searchsorted(totals, count))
    if n == len(totals) or totals[n] != count:
        raise ValueError(f"{count} image placeholders for {len(pictures)} pictures of {int(totals[-1])}")
    return list(pictures[:n])


def pictured(eyes: Vision | None, ids: npt.NDArray[Any], urls: Sequence[str]) -> list[Picture]:
    """The pictures of a prompt. Raises ValueError where a policy has no eyes, or ids and pictures are not as many."""
    if eyes is None and urls:
        raise ValueError("this policy takes no images")
    pictures = [eyes.picture(url) for url in urls] if eyes is not None else []
    if len(within(ids, pictures)) < len(pictures):
        raise ValueError(f"{len(pictures)} images, and not as many in the prompt")
    return pictures


def places(model: Any, ids: npt.NDArray[Any], pictures: Sequence[Picture]) -> npt.NDArray[np.int64] | None:
    """Positions [3, L] of ids [L] and of padding to their right: time, height, width; None where they just count."""
    if not hasattr(model.base_model, "get_rope_index"):
        return None
    row = torch.from_numpy(ids.astype(np.int64))[None]
    grids = torch.cat([p.patches["image_grid_thw"] for p in pictures]) if pictures else None
    kinds = (row == model.config.image_token_id).int()
    found: npt.NDArray[np.int64] = model.base_model.get_rope_index(
        input_ids=row, mm_token_type_ids=kinds, image_grid_thw=grids
    )[0][:, 0].numpy()
    return found


def patches(pictures: Sequence[Picture]) -> dict[str, torch.Tensor]:
    """What a model is given of pictures, in the order of their placeholders."""
    found = [picture.patches for picture in pictures]
    return {name: torch.cat([one[name] for one in found]) for name in (found[0] if found else ())}


def looked(
    model: Any,
    ids: torch.Tensor,
    images: Sequence[Sequence[str]],
    paths: Sequence[npt.NDArray[np.int64]] | None = None,
) -> dict[str, torch.Tensor]:
    """What a model is given beside ids [B, L], with the images of each sample.

    ``paths``: where the ids of each sample, and padding, stand among the B*L; none: a row is a sample. A picture whose
    placeholders several share is given once. Raises UserError where the model takes none.
    """
    eyes: Vision | None = getattr(model, "eyes", None)
    if eyes is None:
        raise UserError("these turns were sampled after images, and this model takes none")
    flat = ids.flatten().numpy()
    positions: npt.NDArray[np.int64] | None = None
    shown: dict[int, Picture] = {}  # by the place of its first placeholder
    for path, urls in zip(np.arange(len(flat)).reshape(ids.shape) if paths is None else paths, images, strict=True):
        pictures = within(flat[path], [eyes.picture(url) for url in urls])
        at = path[flat[path] == eyes.token_id]
        first = np.cumsum([0, *(picture.tokens for picture in pictures)])
        if len(at) != first[-1]:
            raise ValueError("image placeholders without the images that they stand for")
        shown |= zip(at[first[:-1]].tolist(), pictures, strict=True)
        if (counted := places(model, flat[path], pictures)) is not None:
            positions = np.zeros((3, len(flat)), np.int64) if positions is None else positions
            positions[:, path] = counted
    given = {} if positions is None else {"position_ids": torch.from_numpy(positions).view(3, *ids.shape)}
    return given | patches([shown[first] for first in sorted(shown)])


def noise(rng: np.random.Generator, width: int, height: int) -> str:
    """A picture to try a model with, as a data URL."""
    from PIL import Image

    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), rng.bytes(3 * width * height)).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def load_seeing(where: Path | str, tokenizer: Any, config: Any) -> SeeingTokenizer:
    """Raises UserError for kinds of models whose pictures are not read here, or without Pillow."""
    from transformers import AutoImageProcessor

    if config.model_type not in TYPES:
        raise UserError(f"{where} is a {config.model_type}; pictures are read by {', '.join(TYPES)}")
    try:
        import PIL  # noqa: F401
    except ImportError:
        raise UserError("pictures need Pillow: pip install 'agentrl-toolkit[vision]'") from None
    return SeeingTokenizer(tokenizer, Vision(AutoImageProcessor.from_pretrained(where), tokenizer, config))


def _mark(tokenizer: Any, config: Any, name: str) -> str:
    """What stands at the start or end of a picture: Qwen-VL's configuration knows, or InternVL's tokenizer."""
    id = getattr(config, f"vision_{name}_token_id", None)
    return str(getattr(tokenizer, f"{name}_image_token", "") if id is None else tokenizer.convert_ids_to_tokens(id))


def _decoded(url: str) -> Any:
    from PIL import Image

    if not url.startswith("data:"):
        raise ValueError(f"an image that is not there: {url[:100]}")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2], validate=True)), formats=FORMATS)
        if image.width * image.height > LARGEST:  # before anything is unpacked
            raise ValueError(f"{image.width} x {image.height} pixels; at most {LARGEST} are taken")
        return image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"an image that cannot be read: {error}") from None
