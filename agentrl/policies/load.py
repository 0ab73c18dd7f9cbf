"""From what a person types after ``--policy`` to a policy: bundled name, folder, run, hub name, or a scripted one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentrl.errors import UserError, unknown
from agentrl.policies.base import AnyPolicy, Policy

BUNDLED = {"small": Path(__file__).parent / "small"}


ENGINES = ("transformers", "vllm", "vllm@ADDRESS")


def checked_engine(engine: str) -> str:
    """Raises UserError for an engine that there is not."""
    if engine not in ENGINES[:2] and not engine.startswith(("vllm@http://", "vllm@https://", "vllm@/")):
        raise unknown("engine", engine, ENGINES)
    return engine


def server_of(engine: str) -> str | None:
    """The address of the vLLM server that an engine names."""
    return engine.partition("@")[2] or None


@dataclass(slots=True)
class Loaded:
    """``agent``: how the policy was taught to talk (``agent.json`` beside its weights), if it says so."""

    policy: AnyPolicy
    agent: dict[str, Any] | None
    source: str

    def close(self) -> None:
        """End what the policy runs outside this process."""
        close = getattr(self.policy, "close", None)
        if close is not None:
            close()


def locate(name: str) -> Path | str:
    """The folder (or GGUF file) a name means, else the name itself as one on the hub.

    A bundled name wins over a folder; a run folder means its ``checkpoints/last``.
    """
    if name in BUNDLED:
        return BUNDLED[name]
    if name.startswith("openai:"):
        raise UserError(f"{name} shows neither tokens nor weights: it can be evaluated and collected from, not trained")
    path = Path(name)
    if (path / "checkpoints" / "last").exists():
        return path / "checkpoints" / "last"
    if path.is_dir():
        if not (path / "config.json").exists() and not list(path.glob("*.gguf")):
            raise UserError(f"{name} is no policy: it holds neither config.json nor a run's checkpoints/last")
        return path
    if path.is_file() and path.suffix == ".gguf":
        return path
    if path.exists() or name.startswith((".", "/")) or name.count("/") != 1:
        from agentrl.policies.scripted import SCRIPTED

        raise unknown(
            "policy", name, [*BUNDLED, *SCRIPTED, "human", "replay:PATH", "openai:MODEL", "FOLDER", "OWNER/NAME"]
        )
    return name


def load_policy(
    name: str,
    *,
    engine: str = "transformers",
    noise: float | tuple[float, float] = 0.0,
    slots: int = 128,
    window: int | None = None,
) -> Loaded:
    """Build the policy that ``name`` means, its tokens made by ``engine``.

    Raises UserError for an unknown name or damaged weights.
    """
    from agentrl.policies import scripted

    checked_engine(engine)
    if name == "expert":
        return Loaded(scripted.Expert(noise), None, name)
    if name in scripted.SCRIPTED:
        return Loaded(scripted.SCRIPTED[name](), None, name)
    if name == "human":
        from agentrl.policies.human import Human

        return Loaded(Human(), None, name)
    if name.startswith("replay:"):
        from agentrl import store

        groups = store.read(name.removeprefix("replay:"))
        return Loaded(scripted.Replay([t for group in groups for t in group]), None, name)
    if name.startswith("openai:"):
        from agentrl.policies.openai import OpenAIPolicy

        return Loaded(OpenAIPolicy.of(name.removeprefix("openai:")), None, name)
    where = locate(name)
    agent = where / "agent.json" if isinstance(where, Path) and where.is_dir() else None
    config = json.loads(agent.read_text()) if agent is not None and agent.exists() else None
    policy: Policy
    if engine != "transformers":
        from agentrl.policies.vllm import VLLMPolicy

        policy = VLLMPolicy(where, name=name, slots=slots, window=window, server=server_of(engine))
    else:
        from agentrl.policies.transformers import TransformersPolicy

        policy = TransformersPolicy(*load_model(where), name=name, slots=slots, window=window)
    return Loaded(policy, config, str(where))


def load_model(where: Path | str) -> tuple[Any, Any]:
    """A float32 model (on a GPU where there is one) and its tokenizer, from a folder, a GGUF file or the hub.

    A vision-language model has ``eyes``, and its tokenizer is a :class:`agentrl.policies.vision.SeeingTokenizer`.
    Raises UserError where it cannot be read, or is not what a run saved there.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
    from transformers.utils import logging

    from agentrl.policies.linear import speed_up
    from agentrl.store.seal import check

    logging.disable_progress_bar()
    file = None
    if isinstance(where, Path):
        check(where, leave=".pt")  # the trainer's state may be larger than the weights, and is not read here
        found = [where] if where.is_file() else [] if (where / "config.json").exists() else sorted(where.glob("*.gguf"))
        file, where = (found[0].name, found[0].parent) if found else (None, where)
    options: dict[str, Any] = {"gguf_file": file} if file else {}
    try:
        sees = not file and hasattr(AutoConfig.from_pretrained(where), "vision_config")
        kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        model = kind.from_pretrained(where, dtype=torch.float32, **options)
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        if sees:
            from agentrl.policies.vision import load_seeing

            tokenizer = load_seeing(where, tokenizer, model.config)
            model.eyes = tokenizer.vision
    except UserError:
        raise
    except Exception as error:  # transformers raises whatever its readers raise
        line = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"policy {where} cannot be loaded: {line}") from error
    if file:
        model = _plain(model)
    return speed_up(model.to("cuda" if torch.cuda.is_available() else "cpu")), tokenizer


def _plain(model: Any) -> Any:
    """A GGUF model without the memory of its quantisation, which transformers refuses to save."""
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = type(model)(config)
    fresh.load_state_dict(model.state_dict())
    fresh.generation_config = model.generation_config
    return fresh.to(model.dtype)
