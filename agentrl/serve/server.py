"""The routes. A session is named by the address (``/sessions/NAME/v1``) or by the API key; a reward ends it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentrl import store
from agentrl.policies.base import Policy
from agentrl.seeds import derive
from agentrl.serve.session import ENV, Session, Talker
from agentrl.serve.wire import Ask, BadRequest, chunks
from agentrl.types import Group, Task, Trajectory

MAX_BODY = 1 << 26
KEEP_ALIVE = 10.0  # seconds between two signs of life in a stream that waits for its first token


class Server:
    """Serves ``policy`` and stores ended sessions in ``out``, a file a task, each a group of trajectories.

    ``temperature``: of all draws, whatever programs ask for; None: as they ask. ``on_group`` is told of every group
    that has grown.
    """

    def __init__(
        self,
        policy: Policy,
        out: Path,
        *,
        seed: int = 0,
        temperature: float | None = None,
        on_group: Callable[[Group], Awaitable[None]] | None = None,
    ) -> None:
        self.policy, self.out, self.seed, self.temperature = policy, out, seed, temperature
        self.sessions: dict[str, Session] = {}
        self.groups: dict[str, Group] = {}
        self._talker = Talker(policy)
        self._rewarded: dict[str, dict[str, Any]] = {}
        self._number = itertools.count()
        self._on_group = on_group

    def app(self) -> Starlette:
        routes = [Route("/health", self._health)]
        for prefix in ("", "/sessions/{name}"):
            routes += [
                Route(f"{prefix}/v1/chat/completions", self._handled(self._chat), methods=["POST"]),
                Route(f"{prefix}/v1/models", self._models),
                Route(f"{prefix}/v1/reward", self._handled(self._reward), methods=["POST"]),
            ]
        return Starlette(routes=routes)

    def reward(self, name: str, reward: float, success: bool | None = None, task: str | None = None) -> dict[str, Any]:
        """End a session and store it. Said twice, it is done once. Raises BadRequest where there is none."""
        if name in self._rewarded:
            return self._rewarded[name]
        session = self.sessions.get(name)
        if session is None or not session.replies:
            raise BadRequest(f"session {name} has said nothing yet", code="unknown_session")
        task = name if task is None else task
        played = session.trajectories(task, reward, reward >= 1.0 if success is None else success)
        self._keep(task, played)
        session.ended = True
        del self.sessions[name]
        turns = sum(len(t.turns) - t.shared for t in played)
        answer = {"session": name, "task": task, "trajectories": len(played), "turns": turns}
        self._rewarded[name] = answer
        return answer

    def _keep(self, task: str, played: list[Trajectory]) -> None:
        file = hashlib.sha256(task.encode()).hexdigest()[:20]
        if task not in self.groups:  # perhaps an earlier server's
            path = self.out / f"{file}.parquet"
            self.groups[task] = store.read(path)[0] if path.exists() else Group(Task(ENV, task), task)
        self.groups[task].trajectories += played
        store.write(self.out, file, [self.groups[task]])

    def _session(self, name: str) -> Session:
        if name in self._rewarded:
            raise BadRequest(f"session {name} has had its reward", code="session_ended")
        if name not in self.sessions:
            seed = derive(self.seed, "session", name)
            self.sessions[name] = Session(name, self._talker, seed, self.temperature)
        return self.sessions[name]

    # -- routes -------------------------------------------------------------------------------------------------------

    async def _chat(self, request: Request, name: str, body: Any, digest: str) -> Response:
        ask = Ask.of(body)
        again = request.headers.get("x-stainless-retry-count", "0") != "0"
        session = self._session(name)
        head = {"id": f"chatcmpl-{next(self._number)}", "created": int(time.time()), "model": self.policy.name}

        async def complete() -> dict[str, Any]:
            made = await session.complete(ask, digest, again, lambda: f"{next(self._number)}")
            return head | {"object": "chat.completion"} | made

        if not ask.stream:
            return JSONResponse(await complete())
        # What can be refused is refused with a status of its own, so the stream begins when that is known.
        task = asyncio.ensure_future(complete())
        await asyncio.wait([task], timeout=KEEP_ALIVE)
        if task.done():
            await task
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(_stream(task, ask.usage), media_type="text/event-stream", headers=headers)

    async def _reward(self, request: Request, name: str, body: Any, digest: str) -> Response:
        reward = body.get("reward") if isinstance(body, dict) else None
        if isinstance(reward, bool) or not isinstance(reward, int | float) or not math.isfinite(reward):
            raise BadRequest("reward is a finite number", "reward")
        task, success = body.get("task"), body.get("success")
        if not isinstance(task, str | None) or not isinstance(success, bool | None):
            raise BadRequest("task is a string and success a boolean", "task")
        answer = self.reward(name, float(reward), success, task)
        if self._on_group is not None:
            await self._on_group(self.groups[answer["task"]])
        return JSONResponse(answer)

    async def _models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": self.policy.name, "object": "model", "created": 0}]})

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"sessions": len(self.sessions), "ended": len(self._rewarded)})

    def _handled(
        self, handle: Callable[[Request, str, Any, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """A route with the session's name and the body read, whose mistakes are answered as OpenAI's are."""

        async def route(request: Request) -> Response:
            try:
                return await handle(request, _named(request), *await _read(request))
            except BadRequest as error:
                return JSONResponse(error.body(), error.status)

        return route


async def _stream(task: asyncio.Future[dict[str, Any]], usage: bool) -> AsyncIterator[str]:
    while not (await asyncio.wait([task], timeout=KEEP_ALIVE))[0]:
        yield ": still at it\n\n"
    try:
        completion = task.result()
    except BadRequest as error:
        yield f"data: {json.dumps(error.body())}\n\n"
        return
    for chunk in chunks(completion, usage):
        yield chunk


async def _read(request: Request) -> tuple[Any, str]:
    """The body, and what tells it from others."""
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise BadRequest(f"a body of more than {MAX_BODY} bytes", status=413)
    try:
        return json.loads(bytes(raw)), hashlib.sha256(raw).hexdigest()
    except (ValueError, RecursionError):
        raise BadRequest("the body is no JSON") from None


def _named(request: Request) -> str:
    name: str = request.path_params.get("name", "")
    if not name:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        name = key.strip() if scheme.lower() == "bearer" else ""
    if not name or len(name) > 200:
        raise BadRequest("name the session: by the API key, or /sessions/NAME/v1 as the address", status=401)
    return name
