"""An exported folder loads with transformers alone, gives the same logits, and its card says where it comes from."""

import json

import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentrl.cli import main
from agentrl.errors import UserError
from agentrl.policies.load import BUNDLED, load_model
from agentrl.trainers.export import export
from agentrl.trainers.recipe import Recipe


@pytest.fixture
def run(tmp_path):
    """A run folder as training leaves it."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last").symlink_to(BUNDLED["small"])
    recipe = Recipe(env="agentrl/KeyDoor-v0", seed=7).model_dump(mode="json")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    (folder / "metrics.jsonl").write_text('{"iteration": 0, "episodes": 96}\n{"iteration": 1, "episodes": 192}\n{"iter')
    rate = {"suite": "s", "success": 0.25, "ci_low": 0.2, "ci_high": 0.3, "episodes": 256}
    for name in ("before", "after"):
        (folder / f"{name}.json").write_text(json.dumps(rate | {"success": 0.25 if name == "before" else 0.5}))
    return folder


def test_the_folder_is_an_ordinary_one(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["export", str(run), "-o", str(tmp_path / "model")])
    assert end.value.code == 0
    assert "from_pretrained" in capsys.readouterr().out
    ours, _ = load_model(BUNDLED["small"])
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    ids = torch.arange(20)[None]
    torch.testing.assert_close(theirs(ids).logits, ours(ids).logits, atol=1e-4, rtol=1e-4)
    assert AutoTokenizer.from_pretrained(tmp_path / "model").chat_template
    assert (tmp_path / "model" / "agent.json").exists()
    assert not (tmp_path / ".model.partial").exists()


def test_the_card_tells_recipe_data_and_results(run, tmp_path):
    card = (export(str(run), tmp_path / "model") / "README.md").read_text()
    assert "192 episodes of `agentrl/KeyDoor-v0` in 2 iterations" in card
    assert "| before | s | 25.0 [20.0, 30.0] | 256 |" in card
    assert "| after | s | 50.0 [20.0, 30.0] | 256 |" in card
    assert "seed: 7" in card
    assert str(tmp_path) not in card


def test_the_card_names_several_environments_and_demonstrations(run, tmp_path):
    recipe = Recipe(env={"agentrl/KeyDoor-v0": {}, "agentrl/Calc-v0": {"weight": 2}}, demos="shown/demos")
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
    card = (export(str(run), tmp_path / "model") / "README.md").read_text()
    assert "192 episodes of `agentrl/KeyDoor-v0`, `agentrl/Calc-v0` in 2 iterations" in card
    assert "Demonstrations of `demos` were learnt beside them." in card


def test_a_policy_without_a_run_says_so_and_a_full_folder_is_left_alone(tmp_path):
    assert "No training run is recorded" in (export("small", tmp_path / "model") / "README.md").read_text()
    with pytest.raises(UserError, match="exists already"):
        export("small", tmp_path / "model")
