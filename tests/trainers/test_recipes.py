"""Every bundled recipe of a method that asks for more after it has seen the first episodes runs, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from agentrl import api
from agentrl.policies.load import load_model, locate
from agentrl.trainers import probe
from agentrl.trainers import recipe as recipes
from agentrl.trainers.loop import Training

SMALL = ["rollout.tasks=2", "rollout.group=4", "limits.turns=3", "limits.turn_tokens=12", "optim.minibatches=1"]
TWO_PHASES = {
    "household-appo": ["rollout.brancher={appo: {roots: 2}}"],
    "household-arpo": ["rollout.brancher={arpo: {roots: 2, base: 0.4}}"],
    "household-dapo": ["rollout.filter={dynamic: {rounds: 1}}"],
    "household-hints": ["rollout.brancher={hints: {path: PATH, levels: [0.5], tries: 1}}"],
    "household-scope": ["rollout.brancher={scope: {roots: 2}}"],
    "household-xrpo": [],
}


def test_all_recipes_of_methods_are_known_here() -> None:
    keys = {name: (yaml.safe_load(path.read_text()).get("rollout") or {}) for name, path in recipes.bundled().items()}
    assert {
        name for name, given in keys.items() if {"brancher", "budget", "filter"} & given.keys()
    } == TWO_PHASES.keys()


def test_every_recipe_trains_by_tries_and_its_policy_can() -> None:
    made = [api.recipe_for(name, []) for name in recipes.bundled()]
    assert {recipe.optim.batcher for recipe in made} == {"trie"}
    for path in {recipe.policy.path for recipe in made}:
        assert probe.choose(load_model(locate(path))[0], "trie") == ("trie", None)


@pytest.mark.parametrize("name", TWO_PHASES)
def test_two_iterations(name: str, tiny_policy: Path, tmp_path: Path) -> None:
    own = [change.replace("PATH", str(tiny_policy.parent / "demos")) for change in TWO_PHASES[name]]
    made = api.recipe_for(name, [f"policy.path={tiny_policy}", "evaluate=false", "iterations=2", *SMALL, *own])
    Training.new(made, tmp_path / "run").run()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    assert all(line["update"].get("logprob_gap", 0.0) < 1e-5 for line in lines)
    assert lines[-1]["episodes"] > 0
    if name in ("household-appo", "household-arpo"):
        assert sum(line["branches"]["count"] for line in lines) > 0
