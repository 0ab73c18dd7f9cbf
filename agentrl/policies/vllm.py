"""A policy whose tokens vLLM makes, in a process of its own.

This file and those that begin with its name (engine, images, probe, weights, server) alone know vLLM's interfaces.

The engine's event loop runs in a thread, because callers come and go with loops of their own. Requests are token ids
with a seed each; replies are token ids with the logprobs that were sampled by. Requests are batched as they arrive, so
runs are not bit-identical, and ``expect`` changes nothing; a request's draws still depend on its own seed.
Left out on purpose: entropies, which vLLM does not give (they are nan, and methods that need them refuse).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentrl.errors import UserError
from agentrl.policies.base import Completion, Counters, Request
from agentrl.policies.bridge import Bridge
from agentrl.policies.earlier import Earlier
from agentrl.policies.vllm_engine import Worker, check_version, launch
from agentrl.policies.vllm_server import Server
from agentrl.policies.vllm_weights import Adapter, EngineClient, Lora, Sender

if TYPE_CHECKING:
    from agentrl.policies.vision import Vision

__all__ = ["VLLMPolicy", "Worker", "check_version"]

RESTARTS = 3  # engines lost in a row, with no reply in between, after which requests fail
SEEING = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")  # whose pixels are handed over (:mod:`agentrl.policies.vllm_images`)
UNSAID = -100.0  # added to a logit; vLLM takes nothing lower


class VLLMPolicy:
    """Serves ``source``, a folder or hub name. ``trainer``: the model whose weights :meth:`update` is given.

    With a ``server`` (see :mod:`agentrl.policies.vllm_server`) no engine is started, and vLLM need not be installed.
    ``lora``: an adapter of ``trainer`` is what changes, beside the weights of ``source``. ``transfer``: how other
    weights get there. ``sleep``: :meth:`rest` gives a GPU's memory back. Raises UserError where vLLM is missing, of
    another version, or cannot serve the model.
    """

    def __init__(
        self,
        source: Path | str,
        *,
        name: str = "policy",
        slots: int = 128,
        window: int | None = None,
        trainer: Any = None,
        max_gap: float = 0.05,
        server: str | None = None,
        lora: Lora | None = None,
        transfer: str = "files",
        sleep: bool = False,
    ) -> None:
        if server is None or transfer != "files":
            check_version()
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig

        if Path(source).suffix == ".gguf" or (Path(source).is_dir() and not (Path(source) / "config.json").exists()):
            raise UserError(f"vLLM serves no GGUF file: agentrl export {source} -o FOLDER makes a folder that it can")
        self.name, self._version = name, 0
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            whole = AutoConfig.from_pretrained(source)
            config = whole.get_text_config()
        except Exception as error:  # transformers raises whatever its readers raise
            raise UserError(f"policy {source} cannot be loaded: {_line(error)}") from error
        self._eyes: Vision | None = None
        self._unsaid: dict[int, float] = {}  # placeholders stand for what was shown
        if whole.model_type in SEEING:  # others are told by a word that there was an image
            from agentrl.policies.vision import load_seeing

            if lora is not None:
                raise UserError(f"{source} takes images, and vLLM would not see by its adapters: use transformers")
            self.tokenizer = load_seeing(source, self.tokenizer, whole)
            self._eyes = self.tokenizer.vision
            ids = (getattr(whole, f"{kind}_token_id", None) for kind in ("image", "video"))
            self._unsaid = {i: UNSAID for i in ids if i is not None}
        with contextlib.suppress(OSError):  # a folder need not have one
            config.eos_token_id = GenerationConfig.from_pretrained(source).eos_token_id or config.eos_token_id
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        self._ends = sorted({int(i) for i in (*ends, self.tokenizer.eos_token_id) if i is not None})
        limit = int(getattr(config, "max_position_embeddings", 0) or 4096)
        self.window = min(window or limit, limit)
        self.counters = Counters()
        self._source, self._config, self._slots = str(source), config, slots
        self._trainer, self._max_gap, self._server = trainer, max_gap, server
        self._lora, self._transfer, self._sleep = lora, transfer, sleep
        self._adapter: Adapter | None = None
        self._sender: Sender | None = None
        self._resting = False
        self._weights = self._source  # the newest; an engine that is started again is started from them
        self._folder = Path(tempfile.mkdtemp(prefix="agentrl-vllm-", dir=_memory()))
        self._earlier = Earlier(16 * slots)
        self._number = itertools.count()
        self._busy = 0
        self._since = 0.0
        self._lost = 0
        self._engine: Any = None
        self._bridge = Bridge("vllm")
        self._call = self._bridge.call
        try:
            if lora is not None:
                self._adapter = self._written(dict(trainer.state_dict()), 0)
            self._call(self._start())
            if server is not None and trainer is not None:
                self._meet()
        except UserError:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise UserError(f"vLLM cannot serve {source}: {_line(error)}") from error

    # -- the policy protocol ------------------------------------------------------------------------------------

    def expect(self, live: Callable[[], int] | None) -> None:
        """Nothing: the engine batches what has arrived."""

    @property
    def version(self) -> int:
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        """Call the weights that it has by another number."""
        self._version = version
        if self._adapter is not None:
            self._adapter.version = version
        self._call(self._engine.update_weight_version(str(version)))

    async def generate(self, request: Request) -> Completion:
        """Raises ValueError where prompt and completion cannot fit the window, or there is nothing to do."""
        if not len(request.prompt_ids) or request.max_tokens < 1:
            raise ValueError("a request needs a prompt and at least one token to sample")
        if len(request.prompt_ids) + 1 > self.window:
            raise ValueError(f"a prompt of {len(request.prompt_ids)} tokens does not fit a window of {self.window}")
        return await self._bridge.ask(self._generate(request))

    def rest(self) -> None:
        """Give a GPU's memory back until the next update, where that was asked for. Nothing may be under way."""
        if self._sleep and not self._resting:
            self._call(self._engine.sleep(level=1, mode="keep"))
            self._resting = True

    def update(self, state: dict[str, Any], version: int) -> None:
        """Take new weights, also in mid-reply: replies go on by the new ones, with keys and values computed anew.

        A new adapter (``lora``) is for replies that begin now: others end by the one that they began with. Raises
        UserError where the engine then says otherwise than the trainer about a prompt.
        """
        before = self._weights
        if self._lora is not None:
            self._call(self._switch(self._written(state, version)))
        else:
            if self._server is None or self._transfer == "files":  # also what a new engine starts from
                folder = self._folder / f"{version}-{next(self._number)}"
                self._trainer.save_pretrained(folder, state_dict=state)
                self._weights = str(folder)
            self._call(self._take(version, state))
        if before not in (self._source, self._weights):
            shutil.rmtree(before)
        self._compare(state, version)

    def close(self) -> None:
        """End the engine's process. A second call does nothing."""
        if not self._bridge.loop.is_closed():
            with contextlib.suppress(Exception):
                self._call(self._stop())
            self._bridge.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _meet(self) -> None:
        """Make sure of the weights of a server, which may hold what an earlier run left there."""
        if self._lora is None:
            self.update(dict(self._trainer.state_dict()), 0)
        else:
            self._compare({}, 0)  # the trainer's own weights

    # -- the engine, in its thread --------------------------------------------------------------------------------

    async def _start(self) -> None:
        """A new engine. It has the newest weights from its first token on."""
        self._resting, self._sender = False, None
        if self._server is not None:
            self._engine = await Server.open(self._server, sees=self._eyes is not None)
            self.window = min(self.window, self._engine.window)
        else:
            self._engine = launch(
                model=self._weights,
                tokenizer=self._source,
                config=self._config,
                window=self.window,
                slots=self._slots,
                sees=self._eyes is not None,
                sleep=self._sleep,
                ipc=self._transfer == "ipc",
                **(self._lora.options if self._lora is not None else {}),
            )
            await self._engine.update_weight_version(str(self._version))
        if self._adapter is not None:
            await self._engine.add_lora(self._told(self._adapter))

    async def _stop(self) -> None:
        if isinstance(self._engine, Server):
            if self._adapter is not None:
                await self._engine.remove_lora(self._adapter.lora_int_id)
            await self._engine.aclose()
        elif self._engine is not None:
            self._engine.shutdown()
        self._engine = None

    async def _take(self, version: int, state: dict[str, Any]) -> None:
        engine, self._version = self._engine, version
        try:
            await engine.pause_generation(mode="keep", clear_cache=True)
            if self._resting:  # keys and values get their memory when the weights have theirs
                await engine.wake_up(["weights"])
            if self._transfer == "files":
                await engine.collective_rpc("take_weights", args=(self._weights,))
            else:
                workers = await engine.workers() if isinstance(engine, Server) else 1
                await asyncio.to_thread(self._send, state, workers)
            await engine.reset_prefix_cache()
            await engine.update_weight_version(str(version))
            if self._resting:
                await engine.wake_up(["kv_cache"])
            await engine.resume_generation()
            self._resting = False
        except Exception:
            if not engine.errored:
                raise
            await self._revive(engine)

    def _send(self, state: dict[str, Any], workers: int) -> None:
        """By vLLM's own transfer, in a thread that may wait for the engine's."""
        named = {name: state[name] for name, _ in self._trainer.named_parameters()}  # a tied head is in it once
        if self._sender is None:
            from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient

            local = EngineClient(self._engine, self._bridge.loop)
            client = HTTPVLLMWeightSyncClient(self._server) if self._server is not None else local
            self._sender = Sender(self._transfer, client, workers, named)
        self._sender.send(named)

    def _written(self, state: dict[str, Any], version: int) -> Adapter:
        assert self._lora is not None
        number = next(self._number) + 1
        adapter = Adapter(number, version, self._folder / f"adapter-{number}")
        self._lora.save(adapter.folder, state)
        return adapter

    async def _switch(self, adapter: Adapter) -> None:
        """Let replies that begin from now on be sampled by another adapter."""
        engine, before = self._engine, self._adapter
        try:
            if self._resting:
                await engine.wake_up(["weights"])
            await engine.add_lora(self._told(adapter))
            if self._resting:
                await engine.wake_up(["kv_cache"])
            self._resting = False
        except Exception:
            if not engine.errored:
                raise
            self._adapter = adapter
            await self._revive(engine)
        self._version, self._adapter = adapter.version, adapter
        if before is not None:
            await self._drop(before)

    async def _drop(self, adapter: Adapter) -> None:
        """Unload an adapter that nothing is sampled by any more."""
        if adapter is self._adapter or adapter.asked or not adapter.folder.exists():
            return
        shutil.rmtree(adapter.folder)
        with contextlib.suppress(Exception):  # an engine that is gone has none
            await self._engine.remove_lora(adapter.lora_int_id)

    def _told(self, adapter: Adapter) -> Any:
        if self._server is not None:
            return adapter
        from vllm.lora.request import LoRARequest

        return LoRARequest(adapter.lora_name, adapter.lora_int_id, adapter.lora_path)

    async def _revive(self, engine: Any) -> None:
        """Start another engine in place of a dead one. The first request that notices does it."""
        if engine is not self._engine:
            return
        self._lost += 1
        if self._lost > RESTARTS:
            raise RuntimeError(f"the vLLM engine ended {RESTARTS} times in a row")
        engine.shutdown()
        await self._start()

    async def _generate(self, request: Request) -> Completion:
        begin = time.perf_counter()
        if not self._busy:
            self._since = begin
        self._busy += 1
        try:
            while True:
                engine, adapter = self._engine, self._adapter
                try:
                    if adapter is None:
                        output = await self._ask(engine, request)
                    else:
                        output = await self._beside(engine, request, adapter)
                except Exception:
                    if not engine.errored:
                        raise
                    await self._revive(engine)
                    continue
                self._lost = 0
                return self._completion(request, output, adapter, time.perf_counter() - begin)
        finally:
            self._busy -= 1
            if not self._busy:
                self.counters.seconds += time.perf_counter() - self._since

    async def _beside(self, engine: Any, request: Request, adapter: Adapter) -> Any:
        adapter.asked += 1
        try:
            return await self._ask(engine, request, lora_request=self._told(adapter))
        finally:
            adapter.asked -= 1
            await self._drop(adapter)

    async def _ask(self, engine: Any, request: Request, **more: Any) -> Any:
        params: Any = {
            "temperature": request.temperature,
            "max_tokens": min(request.max_tokens, self.window - len(request.prompt_ids)),
            "seed": request.seed % (1 << 63),
            "logprobs": 0,  # of the sampled token alone
            "stop": list(request.stop) or None,
            "stop_token_ids": self._ends,
            "skip_special_tokens": False,
            "logit_bias": self._unsaid or None,
        }
        if self._server is None:
            from vllm import SamplingParams
            from vllm.sampling_params import RequestOutputKind

            last = RequestOutputKind.FINAL_ONLY
            params = SamplingParams(**params, detokenize=bool(request.stop), output_kind=last)
        ids = request.prompt_ids.tolist()
        prompt: dict[str, Any] = {"type": "token", "prompt_token_ids": ids}
        if request.images:
            from agentrl.policies.vllm_images import for_engine, for_server

            prompt = (for_engine if self._server is None else for_server)(request, self._eyes)
        outputs = [output async for output in engine.generate(prompt, params, str(next(self._number)), **more)]
        if outputs[-1].prompt_token_ids != ids:  # what would be trained on is not what was seen
            raise RuntimeError("vLLM makes other prompt ids of these images than the policy's image processor")
        return outputs[-1]

    def _completion(self, request: Request, output: Any, adapter: Adapter | None, seconds: float) -> Completion:
        reply = output.outputs[0]
        ids = list(reply.token_ids)
        logprobs = [steps[i].logprob for i, steps in zip(ids, reply.logprobs, strict=True)]
        cut = self._straddles(request, ids)
        self._count(request, ids, output.num_cached_tokens or 0)
        n = cut or len(ids)
        spans = [(span.start, int(span.version)) for span in reply.weight_versions if span.start < n]
        return Completion(
            np.asarray(ids[:n], np.int32),
            np.asarray(logprobs[:n], np.float32),
            np.full(n, np.nan, np.float32),
            "stop" if cut or reply.finish_reason == "stop" else "length",
            [(0, adapter.version)] if adapter is not None else spans,
            seconds,
        )

    def _straddles(self, request: Request, ids: list[int]) -> int | None:
        """Tokens up to a stop string that began in the part of the reply that was sampled before."""
        if not request.stop or not request.begun:
            return None
        begun = request.prompt_ids[-request.begun :].tolist()
        before = len(self.tokenizer.decode(begun, skip_special_tokens=False))
        longest = max(map(len, request.stop))
        for n in range(1, min(len(ids), longest) + 1):
            text = self.tokenizer.decode([*begun, *ids[:n]], skip_special_tokens=False)
            if any(s in text[max(0, before - len(s) + 1) :] for s in request.stop):
                return n
        return None

    def _count(self, request: Request, ids: list[int], cached: int) -> None:
        n, counters = len(request.prompt_ids), self.counters
        counters.prefill_tokens += n - cached
        counters.new_tokens += n - max(cached, self._earlier.shared(request))
        counters.sampled_tokens += len(ids)
        counters.used_positions += n - cached + len(ids) - 1  # nothing is padded
        counters.computed_positions += n - cached + len(ids) - 1
        self._earlier.keep(request, np.concatenate([request.prompt_ids, np.asarray(ids[:-1], np.int32)]))

    # -- whether it holds the trainer's weights -------------------------------------------------------------------

    def _compare(self, state: dict[str, Any], version: int) -> None:
        """Let the engine continue a prompt, and the trainer judge what it says."""
        from agentrl.policies.vllm_probe import judged, question

        asked = question(self.tokenizer, self._eyes, version)
        said = self._call(self._generate(asked))
        wanted = judged(self._trainer, state, asked, said.ids, self._unsaid)
        gap = float(np.abs(said.logprobs - wanted).mean())
        if not gap <= self._max_gap:
            raise UserError(
                f"vLLM does not hold the weights of version {version}: on a probe prompt its logprobs differ by "
                f"{gap:.4g} on average, more than loss.max_logprob_gap={self._max_gap:g}"
            )


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
