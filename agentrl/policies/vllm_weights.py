"""How a trainer's weights get to a vLLM engine where files are not the way: LoRA adapters, and vLLM's own transfer.

:mod:`agentrl.policies.vllm` uses this; both know vLLM's interfaces, and nothing else does.
"""

from __future__ import annotations

import asyncio
import base64
import pickle
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for
TRANSFERS = ("files", "ipc", "nccl")


@dataclass(frozen=True, slots=True)
class Lora:
    """What is learnt beside the weights. ``save(folder, state)`` writes an adapter as peft does."""

    rank: int
    save: Callable[[Path, dict[str, Any]], None]

    @property
    def options(self) -> dict[str, Any]:
        """Of the engine: room for two adapters, the newest and the one that older replies go on by."""
        room = next((rank for rank in RANKS if rank >= self.rank), self.rank)
        return {"enable_lora": True, "max_lora_rank": room, "max_loras": 2}


@dataclass(eq=False, slots=True)
class Adapter:
    """One version of an adapter, under a name, number and folder that no other has: vLLM's caches go by those."""

    lora_int_id: int
    version: int
    folder: Path
    asked: int = 0  # replies under way by it

    @property
    def lora_name(self) -> str:
        return f"{self.folder.parent.name}-{self.lora_int_id}"  # a server may know those of other programs

    @property
    def lora_path(self) -> str:
        return str(self.folder)


class Sender:
    """The trainer's end of vLLM's weight transfer, as versions 0.32 and 0.33 have it.

    ``ipc``: the engine reads the trainer's memory on the same GPU. ``nccl``: it is sent to ``workers`` other GPUs. Its
    calls block, and must not be made in the thread of the engine's loop.
    """

    def __init__(self, transfer: str, client: Any, workers: int, state: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer.base import ModuleSource
        from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

        info: Any
        if transfer == "ipc":
            from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

            info = IPCTrainerInitInfo(rank=0, packed=True)
        else:
            from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

            with socket.socket() as free:
                free.bind(("", 0))
                port = free.getsockname()[1]
            host = socket.gethostbyname(socket.gethostname())
            info = NCCLTrainerInitInfo(rank=0, master_address=host, master_port=port, world_size=workers + 1)
        self._state = state
        source: Any = ModuleSource(self)  # all that it asks of a module is below
        self._end = WeightTransferTrainerFactory.trainer_init(init_info=info, client=client, source=source)

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        yield from self._state.items()

    def send(self, state: dict[str, Any]) -> None:
        """``state``: always the same names."""
        self._state = state
        self._end.send_weights()


class EngineClient:
    """What vLLM's trainer end asks of an engine in this program, whose ``loop`` runs in another thread."""

    def __init__(self, engine: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._engine, self._loop = engine, loop

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        self._wait(self._engine.init_weight_transfer_engine(WeightTransferInitRequest(init_info=init_info)))

    def start_weight_update(self) -> None:
        self._wait(self._engine.start_weight_update())

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Handles of memory become text: they hold what the engine's messages cannot."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        told = {name: value for name, value in update_info.items() if name != "ipc_handles"}
        told["ipc_handles_pickled"] = base64.b64encode(pickle.dumps(update_info["ipc_handles"])).decode()
        self._wait(self._engine.update_weights(WeightTransferUpdateRequest(update_info=told)))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self._wait(self._engine.finish_weight_update(weight_version))

    def _wait(self, what: Any) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result()
