"""Liger's kernels, with a stand-in for the package: there is no GPU to run them on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import import_utils

from agentrl.errors import UserError
from agentrl.trainers import liger

STAND_IN = """
def _apply_liger_kernel_to_instance(model, **kernels):
    if type(model).__name__ != "LlamaForCausalLM":
        raise TypeError("no such kernels")
    model.liger = kernels
"""


@pytest.fixture
def model() -> LlamaForCausalLM:
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, **sizes))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What pip leaves behind, as far as transformers looks at it."""
    (tmp_path / "liger_kernel").mkdir()
    (tmp_path / "liger_kernel" / "__init__.py").write_text("")
    (tmp_path / "liger_kernel" / "transformers.py").write_text(STAND_IN)
    told = tmp_path / "liger_kernel-0.6.4.dist-info"
    told.mkdir()
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: liger_kernel\nVersion: 0.6.4\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    forget()
    yield
    for name in [name for name in sys.modules if name.startswith("liger_kernel")]:
        del sys.modules[name]
    forget()


def forget() -> None:
    for asked in (import_utils.is_liger_kernel_available, import_utils._is_package_available):
        getattr(asked, "cache_clear", lambda: None)()


def test_the_model_is_given_kernels_and_its_output_matrix_is_left_alone(package: None, model: LlamaForCausalLM) -> None:
    liger.patch(model, torch.device("cuda"))
    assert model.liger["rms_norm"]
    assert not model.liger["fused_linear_cross_entropy"]


def test_what_has_no_kernels_is_named(package: None, model: LlamaForCausalLM) -> None:
    model.__class__ = type("Other", (LlamaForCausalLM,), {})
    with pytest.raises(UserError, match="cannot be had for a Other"):
        liger.patch(model, torch.device("cuda"))


def test_without_gpu_or_package_it_says_what_is_missing(
    model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"^optim.liger needs a GPU"):
        liger.patch(model, torch.device("cpu"))
    monkeypatch.setattr("transformers.utils.is_liger_kernel_available", lambda: False)
    with pytest.raises(UserError, match=r"agentrl-toolkit\[liger\]"):
        liger.patch(model, torch.device("cuda"))
