"""A vLLM server that somebody else started, spoken to in token ids: what :class:`.vllm.VLLMPolicy` asks of an engine.

    VLLM_SERVER_DEV_MODE=1 vllm serve FOLDER --logprobs-mode processed_logprobs \\
        --worker-extension-cls agentrl.policies.vllm.Worker
    agentrl train ... --policy FOLDER --policy.engine vllm@http://127.0.0.1:8000

Weights pass through files, so the server runs where this program's files can be read. Its replies do not say which
weights sampled them: an update lets those that are under way end, and holds back others until it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from agentrl.errors import UserError

NOTHING = -9999.0  # what vLLM's HTTP layer writes for a logprob that it does not have
LAUNCH = (
    "VLLM_SERVER_DEV_MODE=1 vllm serve ... --logprobs-mode processed_logprobs "
    "--worker-extension-cls agentrl.policies.vllm.Worker"
)
LAUNCH_LORA = (
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 vllm serve ... --logprobs-mode processed_logprobs "
    "--enable-lora --max-loras 2 --max-lora-rank RANK"
)
LAUNCH_IMAGES = LAUNCH + " --enable-scale-out"
TOKENS = "/inference/v1/generate"  # where prompts with images go: completions take none


class Server:
    """``await Server.open(address)``: an ``http://`` address, or the path of a Unix socket (``vllm serve --uds``)."""

    errored = False  # a server that is gone fails requests; it is not ours to start again

    def __init__(self, client: Any, model: str, window: int) -> None:
        self.client, self.model, self.window = client, model, window
        self.version = 0
        self._adapters: dict[int, str] = {}  # names, by the number that vLLM's own engine knows them by
        self._open = asyncio.Event()
        self._open.set()
        self._under_way = 0
        self._drained = asyncio.Event()
        self._drained.set()

    @classmethod
    async def open(cls, address: str, sees: bool = False) -> Server:
        """Raises UserError where no vLLM server answers, or where it takes no images and is to."""
        try:
            import httpx
        except ImportError:
            raise UserError("a vLLM server needs httpx: pip install 'agentrl-toolkit[openai]'") from None
        local = address.startswith("/")
        transport = httpx.AsyncHTTPTransport(uds=address) if local else None
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        base = "http://vllm" if local else address.rstrip("/")
        client = httpx.AsyncClient(transport=transport, base_url=base, timeout=None, limits=limits)
        try:
            served = (await client.get("/v1/models")).raise_for_status().json()["data"][0]
            server = cls(client, str(served["id"]), int(served["max_model_len"]))
            blind = sees and (await client.get(TOKENS)).status_code == 404  # another method is 405
        except (httpx.HTTPError, LookupError, ValueError, TypeError) as error:
            await client.aclose()
            raise UserError(
                f"no vLLM server answers at {address} ({type(error).__name__}); start one: {LAUNCH}"
            ) from None
        if blind:
            await client.aclose()
            raise UserError(f"the vLLM server at {address} takes no images; start it so: {LAUNCH_IMAGES}")
        return server

    async def generate(
        self, prompt: dict[str, Any], params: dict[str, Any], id: str, lora_request: Any = None
    ) -> AsyncIterator[Any]:
        """One output, in the shape of vLLM's own; ending it early aborts the request."""
        await self._open.wait()
        version = self.version
        self._under_way += 1
        self._drained.clear()
        try:
            model = self.model if lora_request is None else lora_request.lora_name
            body = {"model": model, "request_id": id, "return_token_ids": True}
            if "content_parts" in prompt:
                answer = await self._post(TOKENS, {**body, **prompt, "sampling_params": params})
            else:
                answer = await self._post("/v1/completions", {**body, "prompt": prompt["prompt_token_ids"], **params})
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._drained.set()
        choice = answer["choices"][0]
        ids, told = choice["token_ids"], choice["logprobs"]
        logprobs = told["token_logprobs"] if "token_logprobs" in told else [one["logprob"] for one in told["content"]]
        if NOTHING in logprobs:
            raise RuntimeError("the vLLM server has no logprob of a token that it sampled")
        details = (answer.get("usage") or {}).get("prompt_tokens_details") or {}
        reply = SimpleNamespace(
            token_ids=ids,
            logprobs=[{i: SimpleNamespace(logprob=value)} for i, value in zip(ids, logprobs, strict=True)],
            finish_reason=choice["finish_reason"],
            weight_versions=[SimpleNamespace(start=0, version=version)],
        )
        seen = answer["prompt_token_ids"] if "prompt_token_ids" in answer else choice["prompt_token_ids"]
        cached = details.get("cached_tokens") or 0
        yield SimpleNamespace(outputs=[reply], prompt_token_ids=seen, num_cached_tokens=cached)

    async def pause_generation(self, *, mode: str, clear_cache: bool) -> None:
        """Whatever the mode: what is under way ends first."""
        self._open.clear()
        await self._drained.wait()

    async def collective_rpc(self, method: str, args: tuple[str, ...]) -> None:
        try:
            await self._post("/collective_rpc", {"method": method, "args": list(args)})
        except RuntimeError as error:
            raise UserError(f"the vLLM server takes no weights ({error}); start it so: {LAUNCH}") from None

    async def add_lora(self, adapter: Any) -> None:
        self._adapters[adapter.lora_int_id] = adapter.lora_name
        told = {"lora_name": adapter.lora_name, "lora_path": adapter.lora_path}
        try:
            await self._post("/v1/load_lora_adapter", told)
        except RuntimeError as error:
            raise UserError(f"the vLLM server takes no adapter ({error}); start it so: {LAUNCH_LORA}") from None

    async def remove_lora(self, number: int) -> None:
        await self._post("/v1/unload_lora_adapter", {"lora_name": self._adapters.pop(number)})

    async def sleep(self, *, level: int, mode: str) -> None:
        await self._post(f"/sleep?level={level}&mode={mode}", {})

    async def wake_up(self, tags: list[str]) -> None:
        await self._post("/wake_up?" + "&".join(f"tags={tag}" for tag in tags), {})

    async def workers(self) -> int:
        """GPUs that it computes on."""
        return int((await self.client.get("/get_world_size")).raise_for_status().json()["world_size"])

    async def reset_prefix_cache(self) -> None:
        await self._post("/reset_prefix_cache", {})
        await self._post("/reset_encoder_cache", {})  # what images became

    async def update_weight_version(self, version: str) -> None:
        self.version = int(version)

    async def resume_generation(self) -> None:
        self._open.set()

    async def aclose(self) -> None:
        await self.client.aclose()

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        answer = await self.client.post(path, json=body)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {' '.join(answer.text.split())[:300]}")
        return answer.json() if "json" in answer.headers.get("content-type", "") else None
