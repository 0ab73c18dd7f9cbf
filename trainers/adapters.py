"""LoRA: a policy's weights stay as they are, and small matrices beside them learn (by peft).

The model stays of its own class, so everything that reads policies reads adapted ones. Checkpoints hold the merged
weights, an ordinary policy, and the adapter beside them, from which a resume goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from agentrl.errors import UserError
from agentrl.trainers.recipe import LoraConfig

NAME = "default"
FOLDER = "adapter"  # within a checkpoint
_WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."  # of names in peft's files


def add(model: Any, config: LoraConfig, source: str, seed: int) -> None:
    """Freeze ``model`` and put adapters beside its matrices, in place; they change nothing until they have learnt.

    ``source``: what the policy is called, for whoever loads the adapter elsewhere. Raises UserError without peft, or
    where the model has none of the modules that ``config`` names.
    """
    try:
        import peft
    except ImportError:
        raise UserError("lora needs peft: pip install 'agentrl-toolkit[lora]'") from None
    made = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        target_modules=config.modules if config.modules == "all-linear" else config.modules.split("+"),
        base_model_name_or_path=source,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            peft.inject_adapter_in_model(made, model, NAME)
        except ValueError as error:
            raise UserError(f"lora.modules: {' '.join(str(error).split())[:200]}") from None
    model.agentrl_lora = made


def adapted(model: Any) -> bool:
    return hasattr(model, "agentrl_lora")


def trained(model: Any) -> dict[str, torch.Tensor]:
    """What learning changes: the adapters' weights, or without adapters all of the model's."""
    if not adapted(model):
        return dict(model.state_dict())
    return {name: p.detach() for name, p in model.named_parameters() if ".lora_" in name}


@contextmanager
def off(model: Any) -> Iterator[Any]:
    """The model that the adapters began beside."""
    layers = _layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield model
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def merged(model: Any) -> Any:
    """A plain model with the adapters' products added to its weights."""
    state: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        if ".lora_" not in name:
            state[name.replace(".base_layer.", ".")] = value
    for name, layer in model.named_modules():
        if hasattr(layer, "get_delta_weight"):
            state[f"{name}.weight"] = layer.base_layer.weight.detach() + layer.get_delta_weight(NAME).detach()
    plain = type(model)(model.config).to(next(model.parameters()).dtype)
    plain.load_state_dict(state)
    plain.generation_config = model.generation_config
    return plain


def save(model: Any, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write the adapter, with the weights ``state`` or its own, as peft's ``PeftModel.from_pretrained`` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    model.agentrl_lora.save_pretrained(folder)
    learnt = {name: value for name, value in (state or trained(model)).items() if ".lora_" in name}
    tensors = {_PREFIX + name.replace(f".{NAME}.", "."): value.cpu().contiguous() for name, value in learnt.items()}
    save_file(tensors, folder / _WEIGHTS, metadata={"format": "pt"})


def read(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The adapter of a checkpoint, named as :func:`trained` does. Raises UserError where there is none to read."""
    path = checkpoint / FOLDER / _WEIGHTS
    try:
        found = load_file(path)
    except Exception as error:  # safetensors has errors of its own
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise UserError(f"{path} cannot be loaded: {line}") from error
    names = {name.removeprefix(_PREFIX): value for name, value in found.items()}
    return {f"{name.removesuffix('.weight')}.{NAME}.weight": value for name, value in names.items()}


def take(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Give the model's adapters the weights ``state``."""
    own = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            own[name].copy_(value)


def _layers(model: Any) -> list[Any]:
    return [layer for layer in model.modules() if hasattr(layer, "get_delta_weight")]
