"""The doctor finds a healthy policy healthy, and each fault by its name."""

import json
from importlib.metadata import PackageNotFoundError

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from agentrl.cli import main
from agentrl.policies.load import BUNDLED, load_model
from agentrl.policies.transformers import TransformersPolicy
from agentrl.tools.desktop import machine
from agentrl.tools.sandboxes import local
from agentrl.trainers import doctor
from agentrl.trainers.doctor import Examination, checksum, pieces


def failed(findings):
    return {f.name for f in findings if f.ok is False}


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(doctor, "EPISODES", 1)


def test_the_bundled_policy_is_well_and_its_sampled_tokens_are_marked(short):
    bench = Examination("small")
    findings = list(bench.run())
    assert not failed(findings)
    assert len(findings) == 8
    marked = pieces(bench.episode, bench.tokenizer)
    sampled = "".join(bench.tokenizer.decode(turn.completion_ids.tolist()) for turn in bench.episode.turns)
    assert "".join(text for text, trained in marked if trained) == sampled
    assert marked[0][1] is False


def test_a_folder_with_another_model_is_well_too(short, tmp_path):
    _, tokenizer = load_model(BUNDLED["small"])
    torch.manual_seed(0)
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 1024}
    Qwen3ForCausalLM(Qwen3Config(vocab_size=len(tokenizer), **heads, **shape)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    findings = list(Examination(str(tmp_path)).run())
    assert not failed(findings)
    assert {f.name for f in findings} >= {"chat template", "batches", "loss mask", "learning rate 0", "weights arrive"}


def test_a_sampler_with_other_weights_is_found(short, monkeypatch):
    plain = TransformersPolicy.__init__

    def spoilt(self, model, *args, **more):
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(1.05)
        plain(self, model, *args, **more)

    monkeypatch.setattr(TransformersPolicy, "__init__", spoilt)
    assert failed(Examination("small").run()) == {"sampler and trainer agree"}


def test_weights_that_do_not_arrive_and_weights_that_move_are_found(short, monkeypatch):
    monkeypatch.setattr(TransformersPolicy, "update", lambda self, state, version: None)
    monkeypatch.setattr(doctor, "STILL", 1e-2)
    assert failed(Examination("small").run()) == {"learning rate 0", "weights arrive"}


def test_a_checksum_sees_a_bit():
    one, other = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
    other.load_state_dict(one.state_dict())
    assert checksum(one) == checksum(other)
    with torch.no_grad():
        other.bias[0] = torch.nextafter(other.bias[0], torch.tensor(9.0))
    assert checksum(one) != checksum(other)


def test_the_machine_alone_needs_no_policy(capsys):
    with pytest.raises(SystemExit) as end:
        main.main(["doctor", "--json"])
    assert end.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["checks"] == []
    assert found["machine"]["torch"] == torch.__version__


def test_what_is_missing_comes_with_what_installs_it(monkeypatch, capsys):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("agentrl.cli.doctor.version", version)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("AGENTRL_CHROMIUM", "/nowhere")
    local.require.cache_clear()
    machine.require.cache_clear()
    with pytest.raises(SystemExit):
        main.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)["machine"]
    assert found["peft"] == "not installed (adapters): pip install 'agentrl-toolkit[lora]'"
    assert "apt-get install bubblewrap" in found["local sandbox"]
    assert "/nowhere" in found["browser"]
    assert "xvfb" in found["desktop"]
