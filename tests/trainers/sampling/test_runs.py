"""Branching through the real training loop: shared records, metrics, bit-identical reruns and resumes, gradients."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import same
from typer.testing import CliRunner

from agentrl import api, store
from agentrl.cli.credit import app
from agentrl.policies.load import load_model
from agentrl.trainers import credit
from agentrl.trainers.batching import padded, samples_of
from agentrl.trainers.loop import Training
from agentrl.trainers.losses.aggregate import set_weights
from agentrl.trainers.recipe import Recipe

SMALL = ["rollout.tasks=2", "rollout.group=6", "limits.turns=6", "limits.turn_tokens=12", "checkpoint_every=1"]
ARPO = ["rollout.brancher={arpo: {roots: 3, base: 0.4}}", "evaluate=false", "iterations=2"]


def recipe(policy: Path, *changes: str) -> Recipe:
    return api.recipe_for("household-arpo", [f"policy.path={policy}", *SMALL, *ARPO, *changes])


@pytest.fixture(scope="module")
def branched(tiny_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "arpo"
    Training.new(recipe(tiny_policy), folder).run()
    return folder


def test_a_run_counts_its_branches_and_what_they_saved(branched: Path) -> None:
    lines = [json.loads(line) for line in (branched / "metrics.jsonl").read_text().splitlines()]
    for line, groups in zip(
        lines, (store.read(branched / "trajectories" / f"00000{i}.parquet") for i in (0, 1)), strict=True
    ):
        grown = [t for group in groups for t in group if t.parent]
        assert grown
        told = line["branches"]
        assert told["count"] == len(grown)
        assert told["share"] == len(grown) / 12
        assert told["saved_env_steps"] == sum(t.branch_turn or 0 for t in grown)
        stems = [turn for t in grown for turn in t.turns[: t.branch_turn]]
        assert told["saved_tokens"] == sum(len(turn.completion_ids) for turn in stems)
        assert line["update"]["logprob_gap"] < 1e-5
    assert [line["episodes"] for line in lines] == [12, 24]


def test_credit_explain_shows_the_tree(branched: Path) -> None:
    result = CliRunner().invoke(app, ["explain", str(branched), "--group", "0", "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.output)
    children = [t for t in told["trajectories"] if t["parent"]]
    assert children
    shown = CliRunner().invoke(app, ["explain", str(branched), "--group", "0"]).output
    for child in children:
        assert f"    after {child['branch_turn']} turns: {child['id']}" in shown


@pytest.mark.slow
def test_a_rerun_and_a_resumed_run_are_the_same_bit_for_bit(branched: Path, tiny_policy: Path, tmp_path: Path) -> None:
    Training.new(recipe(tiny_policy, "iterations=1"), tmp_path / "half").run()
    (tmp_path / "half" / "summary.json").unlink()
    Training.resume(tmp_path / "half", iterations=2).run()
    assert same(branched, tmp_path / "half")
    files = [folder / "trajectories" / "000001.parquet" for folder in (branched, tmp_path / "half")]
    ids = [[t.turns[-1].completion_ids.tolist() for g in store.read(f) for t in g if t.turns] for f in files]
    assert ids[0] == ids[1]


def test_hard_and_soft_attribution_give_the_same_gradient_where_tokens_count_equally(
    branched: Path, tiny_policy: Path
) -> None:
    groups = store.read(branched / "trajectories" / "000000.parquet")
    played = {t.id: t for group in groups for t in group}
    for number, t in enumerate(played.values()):  # something to learn, whoever won
        t.turns[-1].rewards = {"goal": float(number % 3 == 0)} if t.shared < len(t.turns) else t.turns[-1].rewards
    table = credit.TurnTable.from_groups(groups)
    gradients = []
    for method in ("tree-hard", "grpo"):
        given = credit.assign(table, [], [{method: {"std": False}}])
        samples = samples_of([played[id] for id in table.ids], given.advantages, table.start.tolist())
        set_weights(samples, "token", 1.0)
        model, _ = load_model(tiny_policy)
        for batch in padded(samples, 4096):
            rows = batch.forward(model)
            (rows.weight * -rows.advantages * torch.exp(rows.logprobs - rows.old_logprobs)).sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert gradients[0].norm() > 1e-3
    assert torch.allclose(gradients[0], gradients[1], atol=1e-5 * float(gradients[0].norm()))
