"""A policy small enough to train in a test: some demonstrations, a few gradient steps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from agentrl import api

sys.path.append(str(Path(__file__).parent))  # tiny.py


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    api.collect("agentrl/Household-v0", "expert", 150, folder / "demos", noise=0.3, kwargs={"size": "tiny"})
    api.sft(folder / "demos", from_scratch="1m", out=folder / "policy", epochs=4.0, batch=8)
    return folder / "policy"
