"""Sampled ids as the pieces of text they stand for, with the policy's own tokenizer where it is at hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentrl.errors import UserError
from agentrl.trainers.credit.batches import recipe_of


class Pieces:
    """``pieces(ids)``: a text an id, or nothing where no tokenizer is known."""

    def __init__(self, decode: Callable[[Sequence[int]], str] | None) -> None:
        self._decode = decode
        self._known: dict[int, str] = {}

    @classmethod
    def of(cls, run: Path) -> Pieces:
        """With the tokenizer of the run's last checkpoint, or of the policy it began with."""
        from agentrl.policies.load import locate

        places: list[Any] = [run / "checkpoints" / "last"]
        if path := recipe_of(run).get("policy", {}).get("path"):
            with contextlib.suppress(UserError):  # the policy may not be on this machine
                places.append(locate(path))
        files = (place / "tokenizer.json" for place in places if isinstance(place, Path))
        return cls(next((_decoder(file) for file in files if file.is_file()), None))

    def __call__(self, ids: Any) -> list[str]:
        if self._decode is None:
            return []
        found: list[str] = []
        held: list[int] = []
        for id in ids.tolist():
            held.append(id)
            text = self._text(held)
            whole = "\ufffd" not in text or len(held) >= 4  # a character may take several tokens
            found.append(text if whole else "")
            held = [] if whole else held
        if held:
            found[-1] = self._text(held)
        return found

    def _text(self, ids: list[int]) -> str:
        assert self._decode is not None
        if len(ids) > 1:
            return self._decode(ids)
        if ids[0] not in self._known:
            self._known[ids[0]] = self._decode(ids)
        return self._known[ids[0]]


def _decoder(file: Path) -> Callable[[Sequence[int]], str] | None:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        return None
    tokenizer = Tokenizer.from_file(str(file))
    return lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False))
