"""What earlier requests of an episode have computed, to count how much of a prompt is new."""

from __future__ import annotations

from typing import Any

from agentrl.policies.base import Request
from agentrl.policies.prefixes import common
from agentrl.types import IntArray


class Earlier:
    """Remembers the ids of each episode's last request, of at most ``most`` episodes (by ``request.key[:-1]``)."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids: dict[tuple[Any, ...], IntArray] = {}

    def shared(self, request: Request) -> int:
        """Prompt tokens that an earlier request computed, whether or not anything still holds them."""
        before = self._ids.get(request.key[:-1]) if len(request.key) > 1 else None
        if before is None:
            return 0
        return min(common(before, request.prompt_ids), len(request.prompt_ids) - 1)

    def keep(self, request: Request, ids: IntArray) -> None:
        if len(request.key) > 1:
            self._ids[request.key[:-1]] = ids
            if len(self._ids) > self._most:
                del self._ids[next(iter(self._ids))]
