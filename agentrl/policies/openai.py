"""``openai:MODEL``: any endpoint that speaks OpenAI's chat completions. Text only, so it plays and is not trained.

    openai:gpt-4o-mini                         OPENAI_API_KEY, and OPENAI_BASE_URL where it is not OpenAI's own
    openai:NAME?rpm=60&in=0.15&out=0.6         at most 60 requests a minute; dollars a million tokens, to count costs
    openai:NAME?cache=answers                  what was answered once is read from this folder, and costs nothing
    openai:NAME?images=1                       the model takes images; else it is told by a word that there is one

What may pass (408, 409, 429, 5xx, a broken connection) is tried again, after the wait that the server asks for or one
that doubles. A key that is refused or a model that is not there ends the run in a line.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from agentrl.errors import UserError, unknown
from agentrl.policies.base import Said
from agentrl.store.files import write_text
from agentrl.types import Message

HOME = "https://api.openai.com/v1"
OPTIONS = ("rpm", "concurrency", "in", "out", "cache", "images")
TRIES = 7
LONGEST_WAIT = 60.0  # seconds
_PASSING = (408, 409, 429)


@dataclass
class Account:
    """What was asked, and what it cost."""

    requests: int = 0
    cached: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0

    def __str__(self) -> str:
        asked = f"{self.requests} requests ({self.retries} tried again), {self.cached} answers from the cache"
        tokens = f"{self.prompt_tokens} prompt and {self.completion_tokens} completion tokens"
        return f"{asked}; {tokens}; ${self.dollars:.4f}"


class OpenAIPolicy:
    """``concurrency`` requests at once, ``rpm`` a minute; prices in dollars a million tokens.

    Raises UserError without httpx or without a key for OpenAI's own address.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        key: str | None = None,
        rpm: float | None = None,
        concurrency: int = 16,
        prices: tuple[float, float] = (0.0, 0.0),
        cache: Path | None = None,
        images: bool = False,
        first_wait: float = 0.5,
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise UserError("openai: needs httpx: pip install 'agentrl-toolkit[openai]'") from None
        self.name, self.model, self.images = f"openai:{model}", model, images
        self.base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or HOME).rstrip("/")
        key = key or os.environ.get("OPENAI_API_KEY")
        if not key and self.base_url == HOME:
            raise UserError("openai: needs a key: set OPENAI_API_KEY, or OPENAI_BASE_URL for another address")
        self.account = Account()
        self._httpx: Any = httpx
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._between = 60.0 / rpm if rpm else 0.0
        self._next = 0.0  # when the next request may leave
        self._concurrency, self._prices, self._cache, self._first_wait = concurrency, prices, cache, first_wait
        self._waits = random.Random(model)
        self._client: tuple[Any, Any, asyncio.Semaphore] | None = None  # an event loop's own

    @classmethod
    def of(cls, name: str) -> OpenAIPolicy:
        """From ``MODEL[?option=value&...]``. Raises UserError naming an option that is wrong."""
        model, _, query = name.partition("?")
        if not model:
            raise UserError("openai: takes a model: openai:MODEL")
        options = dict(parse_qsl(query, keep_blank_values=True))
        for option in options:
            if option not in OPTIONS:
                raise unknown("option of openai:", option, OPTIONS)
        return cls(
            model,
            rpm=_positive(options, "rpm"),
            concurrency=int(_positive(options, "concurrency") or 16),
            prices=(_positive(options, "in") or 0.0, _positive(options, "out") or 0.0),
            cache=Path(options["cache"]) if options.get("cache") else None,
            images=options.get("images", "0") != "0",
        )

    async def chat(
        self,
        messages: Sequence[Message],
        tools: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
        stop: Sequence[str],
        seed: int,
    ) -> Said:
        """The model's next message. Raises RuntimeError where the endpoint refuses or gives up."""
        limit = "max_completion_tokens" if self.base_url == HOME else "max_tokens"
        body: dict[str, Any] = {
            "model": self.model,
            "messages": list(messages),
            limit: max_tokens,
            "temperature": temperature,
            "seed": seed % (1 << 31),
        }
        body |= {"tools": list(tools)} if tools else {}
        body |= {"stop": list(stop)} if stop else {}
        answer, cached = await self._answer(body)
        usage = answer.get("usage") or {}
        asked, made = (int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
        cost = 0.0 if cached else (asked * self._prices[0] + made * self._prices[1]) / 1e6
        account = self.account
        account.cached += cached
        if not cached:
            account.prompt_tokens += asked
            account.completion_tokens += made
            account.dollars += cost
        try:
            choice = answer["choices"][0]
            message = choice["message"]
            calls = message.get("tool_calls") or []
            said: Message = {"role": "assistant", "content": message.get("content") or ""}
            read = [(str(call["function"]["name"]), str(call["function"]["arguments"] or "{}")) for call in calls]
        except (KeyError, IndexError, TypeError, AttributeError):
            raise RuntimeError(f"{self.name} answered no chat completion: {json.dumps(answer)[:200]}") from None
        if calls:
            said["tool_calls"] = calls
        return Said(said, read, choice.get("finish_reason") == "length", asked, made, cost)

    def close(self) -> None:
        print(f"{self.name}: {self.account}", file=sys.stderr)

    async def _answer(self, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The endpoint's answer, and whether it was known before."""
        if self._cache is None:
            return await self._post(body), False
        told = json.dumps([self.base_url, body], sort_keys=True).encode()
        path = self._cache / f"{hashlib.sha256(told).hexdigest()}.json"
        if path.exists():
            known: dict[str, Any] = json.loads(path.read_text())
            return known, True
        answer = await self._post(body)
        write_text(self._cache, path.name, json.dumps(answer))
        return answer, False

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        client, places = self._here()
        wait = self._first_wait
        for attempt in range(TRIES):
            if attempt:
                self.account.retries += 1
            async with places:
                await self._turn()
                self.account.requests += 1
                try:
                    answer = await client.post(f"{self.base_url}/chat/completions", json=body, headers=self._headers)
                except self._httpx.TransportError as error:
                    told, after = f"{type(error).__name__}: {error}", None
                else:
                    if answer.status_code == 200:
                        return _json(answer, self.name)
                    told, after = _complaint(answer), answer.headers.get("retry-after")
                    self._lasting(answer.status_code, told)
            if attempt + 1 < TRIES:
                await asyncio.sleep(_seconds(after, wait * (1 + self._waits.random())))
            wait = min(2 * wait, LONGEST_WAIT)
        raise RuntimeError(f"{self.name} was asked {TRIES} times: {told}")

    def _lasting(self, status: int, told: str) -> None:
        """Raise for what no second try mends."""
        if status in (401, 403, 404):
            raise UserError(f"{self.name} at {self.base_url}: {told}")
        if status not in _PASSING and status < 500:
            raise RuntimeError(f"{self.name} refused: {told}")

    async def _turn(self) -> None:
        """Wait until the rate allows another request."""
        now = time.monotonic()
        self._next = max(self._next, now) + self._between
        await asyncio.sleep(self._next - self._between - now)

    def _here(self) -> tuple[Any, asyncio.Semaphore]:
        loop = asyncio.get_running_loop()
        if self._client is None or self._client[0] is not loop:
            client = self._httpx.AsyncClient(timeout=self._httpx.Timeout(600.0, connect=30.0))
            self._client = loop, client, asyncio.Semaphore(self._concurrency)
        return self._client[1], self._client[2]


def _positive(options: Mapping[str, str], name: str) -> float | None:
    if name not in options:
        return None
    try:
        value = float(options[name])
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise UserError(f"openai: {name} is a number above 0, not {options[name]!r}")
    return value


def _json(answer: Any, name: str) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RuntimeError(f"{name} answered no JSON object: {answer.text[:200]!r}")
    return found


def _complaint(answer: Any) -> str:
    try:
        told = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        told = answer.text
    return f"{answer.status_code} {' '.join(str(told).split())[:200]}"


def _seconds(header: str | None, otherwise: float) -> float:
    try:
        return min(max(0.0, float(header or "")), LONGEST_WAIT)
    except ValueError:
        return otherwise
