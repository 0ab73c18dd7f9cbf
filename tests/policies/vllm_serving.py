"""A vLLM server of its own, on a Unix socket."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agentrl.errors import UserError
from agentrl.policies.load import load_policy

CEILING = 900  # seconds a server may take to start; one that ends is noticed at once


@contextlib.contextmanager
def serving(model: Path, *more: str) -> Iterator[str]:
    """The path of a socket at which ``model`` is served, with ``more`` options."""
    folder = tempfile.mkdtemp(prefix="agentrl-")  # short: the path of a socket may have some hundred letters
    socket = f"{folder}/vllm"
    # not the command "vllm serve", which looks for a package of that name: the builds for CPUs have another
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--uds", socket]
    options = {
        "model": model,
        "dtype": "float32",
        "logprobs-mode": "processed_logprobs",
        "max-num-batched-tokens": 8192,
    }
    options |= {"worker-extension-cls": "agentrl.policies.vllm.Worker", "block-size": 32}
    command += [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command += ["--enforce-eager", "--no-enable-chunked-prefill", *more]
    needs = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    needs |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    with open(f"{folder}/log", "wb") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **needs, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        begin = time.monotonic()
        while True:
            try:
                load_policy(str(model), engine=f"vllm@{socket}").close()
                break
            except UserError:
                told = Path(f"{folder}/log").read_text(errors="replace")[-3000:]
                assert server.poll() is None, told
                assert time.monotonic() - begin < CEILING, told
                time.sleep(0.5)
        yield socket
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
        with contextlib.suppress(ProcessLookupError):  # and whatever it started
            os.killpg(server.pid, signal.SIGKILL)
