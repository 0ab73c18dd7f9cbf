"""Behaviour cloning as one step: trajectories in, a policy folder out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agentrl.agents.chat import AgentConfig
from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.trainers.loop import load_agent
from agentrl.trainers.models import new_model, save_policy, train_tokenizer
from agentrl.trainers.options import validated
from agentrl.trainers.sft import SFTConfig, Transcripts, fit, texts_of
from agentrl.trainers.worlds import agents_of, worlds_of
from agentrl.types import Trajectory

TOKENIZER_EPISODES = 2000  # and one for each token: more would change no merge that matters


def clone(
    trajectories: Sequence[Trajectory],
    size: str | None,
    base: str | None,
    out: Path,
    agent: AgentConfig | None = None,
    window: int = 1024,
    vocabulary: int = 1152,
    tokens: str = "phrases",
    progress: Callable[[int, int, float], None] | None = None,
    settings: dict[str, Any] | None = None,
) -> Path:
    """Exactly one of ``size`` (a new model) and ``base`` (a policy to fine-tune) is given."""
    if (size is None) == (base is None):
        raise UserError("sft needs either --from-scratch SIZE or --policy POLICY")
    config = validated(SFTConfig, "sft", (_SCRATCH if size else _TUNE) | (settings or {}))
    worlds = worlds_of(trajectories)
    if size is not None:
        talk = agent or AgentConfig()
        heard = texts_of(trajectories[: max(TOKENIZER_EPISODES, vocabulary)], worlds, talk)
        tokenizer = train_tokenizer(heard, vocabulary, tokens)
        model: Any = new_model(size, tokenizer, window, config.seed)
    else:
        where = locate(str(base))
        model, tokenizer = load_model(where)
        talk = agent or load_agent(where) or AgentConfig()
    samples = Transcripts(agents_of(worlds, tokenizer, talk), config).samples(trajectories)
    limit = model.config.get_text_config().max_position_embeddings
    fitting = [s for s in samples if len(s.ids) <= limit]
    if not fitting:
        raise UserError(f"no transcript fits the model's window of {limit} tokens")
    fit(model, fitting, config, progress)
    save_policy(out, model, tokenizer, talk.model_dump())
    return out


_SCRATCH = {"lr": 2e-3, "muon": 0.02, "epochs": 2.0, "observation_weight": 0.3}
_TUNE = {"lr": 2e-5, "epochs": 1.0}
