"""What vLLM does on a GPU only: memory that is given back, and weights that are handed over without files.

They need a CUDA device and an installation of their own: ``make test-vllm``.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from agentrl.policies.base import Request
from agentrl.policies.load import load_model, locate
from agentrl.policies.vllm import VLLMPolicy

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.gpu,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
TALK = "<|system|>You are in a room.<|end|><|user|>{}<|end|><|assistant|>"
GAP = 0.05  # of mean logprobs: kernels differ


def changed(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_((0.02 * torch.randn(parameter.shape, generator=generator)).to(parameter.device))
    return model.state_dict()


def replies(policy, tokenizer):
    prompts = [tokenizer(TALK.format(s), add_special_tokens=False)["input_ids"] for s in ("look", "take apple 2")]
    requests = [Request(np.asarray(p, np.int32), 16, seed=i) for i, p in enumerate(prompts)]

    async def all_of_them():
        return await asyncio.gather(*(policy.generate(request) for request in requests))

    return asyncio.run(all_of_them())


@pytest.mark.parametrize("transfer", ["files", "ipc"])
def test_an_engine_beside_the_trainer_rests_and_takes_new_weights(transfer):
    model, tokenizer = load_model(locate("small"))
    policy = VLLMPolicy(locate("small"), trainer=model, max_gap=GAP, transfer=transfer, sleep=True)
    try:
        for version in (1, 2):
            held = torch.cuda.mem_get_info()[0]
            policy.rest()
            assert torch.cuda.mem_get_info()[0] > held
            policy.update(changed(model, version), version)  # compares a probe prompt by itself
            assert {reply.versions[0] for reply in replies(policy, tokenizer)} == {(0, version)}
    finally:
        policy.close()


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU for the trainer, another for the server")
def test_a_server_on_another_gpu_is_sent_weights_by_nccl(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--port", address.rpartition(":")[2], "--model", str(locate("small"))]
    command += ["--logprobs-mode", "processed_logprobs", "--weight-transfer-config", '{"backend": "nccl"}']
    environment = {**os.environ, "VLLM_SERVER_DEV_MODE": "1", "CUDA_VISIBLE_DEVICES": "1"}
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        begin = time.monotonic()
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            assert server.poll() is None, (tmp_path / "log").read_text()[-3000:]
            assert time.monotonic() - begin < 900
            time.sleep(1)
        model, tokenizer = load_model(locate("small"))
        policy = VLLMPolicy(locate("small"), trainer=model, max_gap=GAP, server=address, transfer="nccl")
        try:
            for version in (1, 2):
                policy.update(changed(model, version), version)
                assert {reply.versions[0] for reply in replies(policy, tokenizer)} == {(0, version)}
        finally:
            policy.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
