"""``python -m agentrl.rollout.worker``: environments in a process of their own, spoken to in JSON lines.

A request is ``{"id": 1, "op": "step", "env": 0, "action": "look"}``, its answer ``{"id": 1, "result": {...}}`` or
``{"id": 1, "error": {...}}``. Several environments live side by side; requests of one are served in order. The
process ends when its input ends, whatever its environments are doing.
"""

from __future__ import annotations

import asyncio
import base64
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

from agentrl.envs import plugins, registry
from agentrl.envs.core import Admissible, Env, Expert, Snapshot, Snapshots, plain
from agentrl.errors import UserError
from agentrl.rollout import wire

_GRACE = 2.0  # seconds that environments get to close when the input ends


class Worker:
    """The environments of this process and what can be asked of them."""

    def __init__(self) -> None:
        self.envs: dict[int, Env] = {}
        self.locks: dict[int, asyncio.Lock] = {}

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Serve one request. What the environment raises becomes the answer."""
        op: Callable[..., Awaitable[dict[str, Any]]] = getattr(self, f"op_{request['op']}")
        env = request["env"]
        fields = {k: v for k, v in request.items() if k not in ("id", "op")}
        try:
            async with self.locks.setdefault(env, asyncio.Lock()):
                return {"id": request["id"], "result": await op(**fields)}
        except Exception as error:
            kind = "UserError" if isinstance(error, UserError) else type(error).__name__
            kind = wire.INVALID if isinstance(error, wire.Invalid) else kind
            told = {"type": kind, "message": str(error), "trace": traceback.format_exc()}
            return {"id": request["id"], "error": told}

    async def op_make(
        self, env: int, name: str, kwargs: dict[str, Any], path: list[str], plugin_list: list[str]
    ) -> dict[str, Any]:
        sys.path.extend(entry for entry in path if entry not in sys.path)  # what the engine finds, its worker finds
        for plugin in plugin_list:
            plugins.load(plugin)
        made = self.envs[env] = registry.make(name, **kwargs)
        kinds = {"snapshot": Snapshots, "expert": Expert, "admissible_actions": Admissible}
        offers = [method for method, kind in kinds.items() if isinstance(made, kind)]
        return {"instructions": made.instructions, "tools": made.tools, "offers": offers, **_limits(made)}

    async def op_reset(self, env: int, seed: int | None, options: dict[str, Any] | None) -> dict[str, Any]:
        made = self.envs[env]
        result = await made.areset(seed=seed, options=options)
        return {"result": _bounded(result), **_state(made)}

    async def op_step(self, env: int, action: Any) -> dict[str, Any]:
        made = self.envs[env]
        result = await made.astep(action)
        return {"result": _bounded(result), **_state(made)}

    async def op_snapshot(self, env: int) -> dict[str, Any]:
        made: Any = self.envs[env]
        saved: Snapshot = await made.in_thread(made.snapshot)
        if saved.release is not None:
            saved.free()
            raise UserError(f"a snapshot of {type(made).__name__} holds something live and cannot leave its process")
        return {"state": base64.b64encode(pickle.dumps(saved.state)).decode()}

    async def op_restore(self, env: int, state: str) -> dict[str, Any]:
        made: Any = self.envs[env]
        snapshot = Snapshot(pickle.loads(base64.b64decode(state)))
        await made.in_thread(lambda: made.restore(snapshot))
        return _state(made)

    async def op_value(self, env: int, method: str) -> dict[str, Any]:
        made = self.envs[env]
        return {"value": await made.in_thread(getattr(made, method))}

    async def op_close(self, env: int) -> dict[str, Any]:
        made = self.envs.pop(env, None)
        if made is not None:
            await made.in_thread(made.close)
        return {}


def _state(env: Env) -> dict[str, Any]:
    """What changes with every step and is too small for a request of its own."""
    beside = {"privileged_key": plain(env.privileged_key()), "potential": env.potential()}
    return {"state_key": plain(env.state_key()), **beside, **_limits(env)}


def _bounded(result: Any) -> Any:
    """What an environment returned. Raises wire.Invalid for text that would take long to write and to read."""
    seen = result[0] if isinstance(result, tuple | list) and result else None
    if isinstance(seen, str) and len(seen) > wire.MAX_BYTES:
        raise wire.Invalid(f"an observation of {len(seen) / 2**20:.0f} MiB; at most {wire.MAX_BYTES >> 20} are taken")
    return result


def _limits(env: Env) -> dict[str, Any]:
    return {"snapshot_level": env.snapshot_level, "max_turns": env.max_turns}


async def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the process ends with its input."""
    loop = asyncio.get_running_loop()
    worker = Worker()
    running: set[asyncio.Task[None]] = set()

    async def one(line: bytes) -> None:
        request = wire.load(line)
        reply = await worker.answer(request)
        try:
            data = wire.dump(reply)
            if len(data) > wire.MAX_BYTES:
                raise ValueError(f"an answer of {len(data) / 2**20:.0f} MiB; at most {wire.MAX_BYTES >> 20} are taken")
        except Exception as error:  # not plain data, nested too deep, too large
            told = {"type": wire.INVALID, "message": f"{type(error).__name__}: {error}", "trace": ""}
            data = wire.dump({"id": request["id"], "error": told})
        answers.write(data)
        answers.flush()

    def begin(line: bytes) -> None:
        task = loop.create_task(one(line))
        running.add(task)
        task.add_done_callback(running.discard)

    async def close_all() -> None:
        for env in list(worker.envs):
            await worker.op_close(env)

    def read() -> None:
        for line in requests:
            loop.call_soon_threadsafe(begin, line)
        closing = asyncio.run_coroutine_threadsafe(close_all(), loop)
        try:
            closing.result(_GRACE)
        finally:
            _end()

    threading.Thread(target=read, daemon=True).start()
    await loop.create_future()


def _end() -> None:
    """End now, with whatever the environments started; a hanging environment cannot hold the process up."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    # What environments print must not end up between the answers, and input() must not eat requests.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    asyncio.run(serve(requests, answers))


if __name__ == "__main__":
    main()
