"""On-policy distillation and CHORD: their formulas by hand, and demonstrations beside what was played."""

import json
import math

import numpy as np
import pytest
import torch

from agentrl import api
from agentrl.errors import UserError
from agentrl.trainers.batching import Rows, Sample
from agentrl.trainers.demos import Demos
from agentrl.trainers.loop import Training
from agentrl.trainers.losses.chord import schedule
from agentrl.trainers.losses.registry import bind


def rows(logprobs, old, advantages, step=0, **columns):
    n = len(logprobs)
    given = {name: torch.tensor(values, dtype=torch.float64) for name, values in columns.items()}
    given.setdefault("sampler", torch.tensor(old, dtype=torch.float64))
    return Rows(
        torch.tensor(logprobs, dtype=torch.float64, requires_grad=True),
        torch.zeros(n),
        torch.tensor(old, dtype=torch.float64),
        torch.tensor(advantages, dtype=torch.float64),
        torch.full((n,), 1 / n, dtype=torch.float64),
        torch.zeros(n, dtype=torch.int64),
        given,
        step,
    )


def test_distillation_pulls_each_token_towards_the_teacher():
    found = rows([-1.0, -2.0], [-1.0, -2.0], [9.0, 9.0], reference=[-0.5, -3.0])
    loss = bind({"distill": {"hold": 0.0}}, "policy")(found)
    assert loss.tolist() == pytest.approx([-0.5, 1.0])  # -(teacher - sampler), whatever the advantages
    loss.sum().backward()
    assert found.logprobs.grad.tolist() == pytest.approx([-0.5, 1.0])


def test_distillation_holds_tokens_that_fell_too_far():
    found = rows([math.log(0.3), math.log(0.6)], [math.log(0.9), math.log(0.7)], [0.0, 0.0], reference=[0.0, 0.0])
    loss = bind({"distill": {"hold": 0.5}}, "policy")(found)
    assert loss[0].item() == pytest.approx(0.5 * math.log(3) ** 2)
    assert loss[1].item() == pytest.approx(math.log(0.7) * 0.6 / 0.7 + 0.5 * math.log(6 / 7) ** 2)


def test_chord_is_two_means():
    found = rows([-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0], [1.0, 2.0, 0.0], expert=[0.0, 0.0, 1.0])
    loss = bind({"chord": {"peak": 0.25, "valley": 0.25}}, "policy")(found)
    assert loss.item() == pytest.approx(0.75 * -1.5 + 0.25 * 3.0)
    loss.backward()
    assert found.logprobs.grad.tolist() == pytest.approx([0.75 * -0.5, 0.75 * -1.0, -0.25])


def test_chord_phi_weights_what_is_neither_known_nor_out_of_reach():
    found = rows([math.log(0.5), math.log(0.99)], [0.0, 0.0], [0.0, 0.0], expert=[1.0, 1.0])
    bind({"chord": {"peak": 1.0, "valley": 1.0, "phi": True}}, "policy")(found).backward()
    assert found.logprobs.grad.tolist() == pytest.approx([-0.25 / 2, -0.99 * 0.01 / 2])


def test_chord_fades():
    told = [schedule(step, 0.9, 0.1, 2, 4) for step in range(8)]
    assert told[:3] == pytest.approx([0.45, 0.9, 0.9])
    assert told[4] == pytest.approx(0.5)
    assert told[6:] == pytest.approx([0.1, 0.1])


def sample(n, trajectory=0, **columns):
    zeros = np.zeros(n, np.float32)
    turn = np.zeros(n, np.int32)
    return Sample(np.arange(n, dtype=np.int32), zeros + 1, zeros, zeros, turn, trajectory, columns)


def test_demonstrations_are_drawn_by_seed_and_told_apart():
    demos = Demos([sample(3), sample(4)], 0.25)
    played = [sample(5, i, success=np.ones(5, np.float32)) for i in range(6)]
    mixed = demos.mixed(played, 7)
    assert len(mixed) == 8
    assert [bool(s.columns["expert"].any()) for s in mixed] == [False] * 6 + [True] * 2
    assert all(s.columns.keys() == {"success", "expert"} for s in mixed)
    assert len({s.trajectory for s in mixed}) == 8
    assert not {int(s.turn[0]) for s in mixed[6:]} & {0}
    assert [s.ids.tolist() for s in demos.mixed(played, 7)] == [s.ids.tolist() for s in mixed]
    assert "expert" not in played[0].columns


CHANGES = ["rollout.tasks=2", "rollout.group=4", "limits.turns=5", "limits.turn_tokens=12", "evaluate=false"]


def test_chord_without_demonstrations_is_refused(tiny_policy, tmp_path):
    made = api.recipe_for("household-tiny", [f"policy.path={tiny_policy}", *CHANGES, "loss.policy=chord"])
    with pytest.raises(UserError, match="set demos"):
        Training.new(made, tmp_path / "x").run()


@pytest.mark.slow
def test_a_run_learns_demonstrations_and_its_own_tries_together(tiny_policy, tmp_path):
    demos = api.collect("agentrl/Household-v0", "expert", 20, tmp_path / "demos", kwargs={"size": "tiny"})
    loss = ["loss.policy={chord: {peak: 1.0, valley: 1.0}}", f"demos={demos}", "iterations=3", "optim.lr=1e-3"]
    made = api.recipe_for("household-tiny", [f"policy.path={tiny_policy}", *CHANGES, *loss])
    run = Training.new(made, tmp_path / "x").run()
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert all(line["update"]["logprob_gap"] < 1e-4 for line in lines)
    assert lines[-1]["update"]["loss"] < lines[0]["update"]["loss"]


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
    loss = ["loss.policy=distill", f"loss.reference={tiny_policy}", "iterations=8", "optim.lr=1e-3", "optim.warmup=0"]
    made = api.recipe_for("household-tiny", [f"policy.path={tmp_path / 'student'}", *CHANGES, *loss])
    run = Training.new(made, tmp_path / "x").run()
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    told = [line["update"]["loss"] for line in lines]
    assert np.mean(told[-2:]) < 0.7 * np.mean(told[:2])
