"""The bandit, by the real loop: a fresh model of random words, cloned from chance, finds the word that pays."""

from pathlib import Path

import pytest

from agentrl import api

BANDIT = "agentrl/Probe-bandit-v0"
SETTINGS = (
    "limits.turn_tokens=12",
    "rollout.deterministic=true",
    "rollout.tasks=8",
    "optim.lr=2e-3",
    "loss.max_logprob_gap=0.01",
    f"suite={BANDIT}:unseen",
    "threads=1",
)


@pytest.fixture(scope="module")
def chance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that knows the words and the tags, and nothing of what pays."""
    folder = tmp_path_factory.mktemp("bandit")
    api.collect(BANDIT, "random", 64, folder / "demos")
    api.sft(folder / "demos", from_scratch="1m", out=folder / "policy", epochs=8.0, batch=8)
    return folder / "policy"


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_success_rises_and_falls_with_the_sign_of_the_credit(chance: Path, tmp_path: Path, sign: float) -> None:
    run = api.train(
        BANDIT,
        policy=str(chance),
        iterations=6,
        credit=[{"grpo": {"weight": sign}}],
        out=tmp_path / "run",
        set=SETTINGS,
    )
    assert 0.05 < run.before["success"] < 0.6
    assert run.after["success"] > 0.9 if sign > 0 else run.after["success"] < 0.1
