"""Supervised fine-tuning on stored trajectories, from scratch or of any model: behaviour cloning.

What was acted is learnt, but for actions that meant nothing, which carry no loss at all. Noise can be left out, or
come late: a model that imitates it from the first step learns to keep track of the world far more slowly
(docs/results/01-spine.md). Where turns are labelled with an expert's action, that is learnt and nothing else, in the
context of what was done.
For a model from scratch the observations carry a small loss: predicting the world is how it learns to copy names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from agentrl.agents.chat import AgentConfig, ChatAgent, format_for
from agentrl.agents.formats import Tools
from agentrl.errors import UserError
from agentrl.rollout.teacher import label_of
from agentrl.trainers import memory
from agentrl.trainers.batching import BATCHERS, Sample
from agentrl.trainers.exchange import exchanged
from agentrl.trainers.optimizer import Optimizer
from agentrl.types import Trajectory, Turn, text_of


class SFTConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    epochs: float = Field(1.0, gt=0, description="passes over the trajectories")
    batch: int = Field(16, ge=1, description="trajectories an optimiser step")
    lr: float = Field(2e-3, gt=0)
    muon: float | None = Field(None, gt=0, description="learning rate of Muon on the weight matrices; none: AdamW")
    warmup: int = Field(20, ge=0, description="optimiser steps of rising learning rate")
    observation_weight: float = Field(0.0, ge=0, description="loss weight of tokens the policy did not write")
    noise_from: float = Field(
        0.0, ge=0, le=1, description="share of the training after which turns marked as noise are learnt too; 1: never"
    )
    noise_weight: float = Field(1.0, ge=0, description="loss weight of such turns then")
    exchange: re.Pattern[str] | None = Field(
        None,
        description="regular expression of names that are exchanged at random in each trajectory, so that they are "
        "read where they stand and not remembered",
    )
    bf16: bool = Field(False, description="matrix products in bfloat16: faster where the processor has them")
    batcher: Literal["padded", "trie"] = Field(
        "padded", description="trie: what episodes begin with, as a list of tools, is computed once a forward pass"
    )
    positions: int = Field(4096, ge=64, description="positions a forward pass")
    seed: int = 0


@dataclass(slots=True)
class Transcripts:
    """Trajectories as token samples; ``agents`` maps an environment to the agent that talks to it."""

    agents: dict[str, ChatAgent]
    config: SFTConfig

    def samples(self, trajectories: Sequence[Trajectory]) -> list[Sample]:
        names = self.config.exchange
        if names is not None:
            trajectories = exchanged(trajectories, names, self.config.seed)
        made = [replace(sample, trajectory=i) for i, t in enumerate(trajectories) for sample in self._of(t)]
        return [sample for sample in made if sample.weight[1:].any()]

    def _of(self, trajectory: Trajectory) -> list[Sample]:
        agent = self.agents[trajectory.task.env]
        chat = agent.start()
        labelled = any(label_of(turn) is not None for turn in trajectory.turns)
        samples: list[Sample] = []
        ids: list[int] = []
        weight: list[float] = []
        noise: list[bool] = []
        images: tuple[str, ...] = ()
        observed = self.config.observation_weight
        for turn in trajectory.turns:
            if turn.action is None and not turn.text:
                continue
            prompt = chat.prompt(turn.info.get("shown", turn.observation)).tolist()
            completion, text = self._said(agent, turn, prompt)
            if prompt[: len(ids)] != ids or chat.images[: len(images)] != images:
                samples.append(_sample(ids, weight, noise, images))
                ids, weight, noise = [], [], []
            images = chat.images
            learnt = turn.valid
            if labelled:
                label = label_of(turn)
                answer = None if label is None else agent.written(label)[0]
                learnt = completion == answer
                if answer is not None and not learnt:  # a reply beside the one that was given
                    beside = [0.0] * len(prompt) + [1.0] * len(answer)
                    samples.append(_sample(prompt + answer, beside, [False] * len(beside), images))
            new = len(prompt) - len(ids)
            shown = -1 if agent.vision is None else agent.vision.token_id  # an image is no text to learn
            weight += [observed * (i != shown) for i in prompt[len(ids) :]] + [float(learnt)] * len(completion)
            noise += [False] * new + [bool(turn.info.get("noise")) and not labelled] * len(completion)
            ids = prompt + completion
            chat.reply(np.asarray(completion, np.int32), text)
        return [*samples, _sample(ids, weight, noise, images)]

    def _said(self, agent: ChatAgent, turn: Turn, prompt: list[int]) -> tuple[list[int], str]:
        """Ids and text of a reply: as it was sampled where this agent would have asked the same, else anew."""
        if len(turn.completion_ids) and turn.prompt_ids.tolist() == prompt:
            return turn.completion_ids.tolist(), turn.text
        if turn.action is not None:
            return agent.written(turn.action)
        return agent.encode(turn.text) + ([] if agent.end_id is None else [agent.end_id]), turn.text


def _sample(ids: list[int], weight: list[float], noise: list[bool], images: tuple[str, ...]) -> Sample:
    turn = np.where(np.array(weight) > 0, 0, -1)
    return Sample.plain(ids, weight, turn, columns={"noise": np.asarray(noise, np.float32)}, images=images)


def with_noise(sample: Sample, weight: float) -> Sample:
    """The sample with the loss of its noise times ``weight``."""
    return replace(sample, weight=sample.weight * (1 + sample.columns["noise"] * np.float32(weight - 1)))


def fit(
    model: nn.Module,
    samples: Sequence[Sample],
    config: SFTConfig,
    progress: Callable[[int, int, float], None] | None = None,
) -> float:
    """Train in place; the mean loss of the last tenth. The order of trajectories depends on ``config.seed`` only."""
    if not samples:
        raise UserError("there is nothing to learn: no trajectory holds an action")
    rng = np.random.default_rng(config.seed)
    of: dict[int, list[Sample]] = {}
    for sample in samples:
        of.setdefault(sample.trajectory, []).append(sample)
    whole = [*of.values()]  # what a trajectory was cut into is learnt together, its prefixes computed once
    steps = max(1, round(config.epochs * len(whole) / config.batch))
    order = np.concatenate([rng.permutation(len(whole)) for _ in range(-(-steps * config.batch // len(whole)))])
    optimizer = Optimizer(model, config.lr, muon=config.muon, beta2=0.98)
    model.train()
    device = next(model.parameters()).device.type
    losses: list[float] = []
    for step in range(steps):
        rate = min(1.0, (step + 1) / max(1, config.warmup)) * (1.0 - 0.9 * step / steps)
        chosen = [sample for i in order[step * config.batch : (step + 1) * config.batch] for sample in whole[i]]
        noise = config.noise_weight if step >= round(config.noise_from * steps) else 0.0
        weighted = [with_noise(sample, noise) for sample in chosen]
        chosen = [sample for sample in weighted if sample.weight[1:].any()]  # the rest would be computed in vain
        total = sum(float(s.weight[1:].sum()) for s in chosen) or 1.0
        loss_sum = 0.0
        for batch in BATCHERS[config.batcher](chosen, config.positions, model):
            with memory.phase(f"a pass of sft ({batch.input_ids.numel()} positions)", memory.CLONING):
                with torch.autocast(device, dtype=torch.bfloat16, enabled=config.bf16):
                    rows = batch.forward(model)
                loss = -(rows.weight * rows.logprobs).sum() / total
                loss.backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(rate)
        losses.append(loss_sum)
        if progress is not None:
            progress(step + 1, steps, loss_sum)
    model.eval()
    tail = losses[-max(1, len(losses) // 10) :]
    return sum(tail) / len(tail)


def texts_of(
    trajectories: Sequence[Trajectory], worlds: dict[str, tuple[str, list[dict[str, Any]]]], config: AgentConfig
) -> list[str]:
    """What the trajectories say, for training a tokenizer: instructions, observations and actions.

    ``worlds`` maps an environment to its instructions and tools.
    """
    tools = Tools()
    told = {
        env: [config.system or instructions, format_for(config, schemas).instructions, *map(_schema, schemas)]
        for env, (instructions, schemas) in worlds.items()
    }
    texts = []
    for trajectory in trajectories:
        texts += told[trajectory.task.env]
        for turn in trajectory.turns:
            seen = turn.observation
            texts += [seen] if isinstance(seen, str) else [text_of(m["content"]) for m in seen]
            if turn.action is not None:
                texts.append(turn.action if isinstance(turn.action, str) else tools.render(turn.action))
    return texts


def _schema(tool: dict[str, Any]) -> str:
    return json.dumps(tool["function"])
