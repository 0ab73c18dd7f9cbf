"""Demonstrations beside what was played (CHORD), and a teacher of one's own tokens (distillation)."""

import json

import numpy as np
import pytest
import torch

from agentrl import api
from agentrl.errors import UserError
from agentrl.trainers.batching import Sample
from agentrl.trainers.demos import Demos
from agentrl.trainers.loop import Training


def sample(n, trajectory=0, **columns):
    zeros = np.zeros(n, np.float32)
    turn = np.zeros(n, np.int32)
    return Sample(np.arange(n, dtype=np.int32), zeros + 1, zeros, zeros, turn, trajectory, columns)


def test_demonstrations_are_drawn_by_seed_and_told_apart():
    demos = Demos([sample(3), sample(4)], 0.25)
    played = [sample(5, i, success=np.ones(5, np.float32)) for i in range(6)]
    mixed = demos.mixed(played, 7)
    assert len(mixed) == 8
    assert [bool(s.columns["demonstration"].any()) for s in mixed] == [False] * 6 + [True] * 2
    assert all(s.columns.keys() == {"success", "demonstration"} for s in mixed)
    assert len({s.trajectory for s in mixed}) == 8
    assert not {int(s.turn[0]) for s in mixed[6:]} & {0}
    assert [s.ids.tolist() for s in demos.mixed(played, 7)] == [s.ids.tolist() for s in mixed]
    assert "demonstration" not in played[0].columns


CHANGES = ["rollout.tasks=2", "rollout.group=4", "limits.turns=5", "limits.turn_tokens=12", "evaluate=false"]


def test_what_a_loss_lacks_is_refused(tiny_policy, tmp_path):
    made = api.recipe_for("household-tiny", [f"policy.path={tiny_policy}", *CHANGES, "loss.policy=chord"])
    with pytest.raises(UserError, match="set demos"):
        Training.new(made, tmp_path / "x").run()
    made = api.recipe_for("household-tiny", [f"policy.path={tiny_policy}", *CHANGES, "loss.terms=[distil]"])
    with pytest.raises(UserError, match=r"set loss\.teacher"):
        Training.new(made, tmp_path / "x").run()


@pytest.mark.slow
def test_a_run_comes_nearer_to_its_teacher(tiny_policy, tmp_path):
    """The student is the teacher with noise on its weights; its loss is -(teacher - student) on its own tokens."""
    from agentrl.policies.load import load_model
    from agentrl.trainers.models import save_policy

    model, tokenizer = load_model(tiny_policy)
    torch.manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * p.std() * torch.randn_like(p) if p.ndim > 1 else 0.0
    agent = json.loads((tiny_policy / "agent.json").read_text())
    save_policy(tmp_path / "student", model, tokenizer, agent)
    loss = [
        "loss.terms=[{distil: {weight: 1.0}}]",
        "credit=[{grpo: {weight: 0.0}}]",
        f"loss.teacher={tiny_policy}",
        "iterations=8",
        "optim.lr=1e-3",
        "optim.warmup=0",
    ]
    made = api.recipe_for("household-tiny", [f"policy.path={tmp_path / 'student'}", *CHANGES, *loss])
    run = Training.new(made, tmp_path / "x").run()
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    told = [line["update"]["loss"] for line in lines]
    assert np.mean(told[-2:]) < 0.7 * np.mean(told[:2])
