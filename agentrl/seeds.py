"""Every random draw comes from an explicit seed; this derives independent ones."""

from __future__ import annotations

import hashlib


def derive(*parts: str | int) -> int:
    """A 62-bit seed from names and numbers, the same in every process: ``derive(seed, "rollout", iteration, task)``."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 2
