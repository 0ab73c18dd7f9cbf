"""Whether a policy can be trained here: what is sampled is what is trained, and nothing moves that should not."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from agentrl.agents.chat import AgentConfig, probe_template
from agentrl.errors import UserError
from agentrl.evaluation.evaluate import evaluate
from agentrl.evaluation.suites import Part, Suite
from agentrl.policies.base import Learning
from agentrl.policies.load import checked_engine, load_model, locate, server_of
from agentrl.policies.transformers import TransformersPolicy
from agentrl.policies.vllm import VLLMPolicy
from agentrl.trainers.batching import Sample, samples_of
from agentrl.trainers.loop import load_agent
from agentrl.trainers.recipe import LossConfig, OptimConfig
from agentrl.trainers.update import Learner
from agentrl.types import Trajectory

EPISODES = 4
LARGEST_GAP = 1e-3  # mean |sampler - trainer| logprob that rounding explains in float32
STILL = 1e-300  # a learning rate at which no float32 weight can move


@dataclass(frozen=True)
class Finding:
    """One check: ``ok`` is None for a remark."""

    name: str
    ok: bool | None
    line: str


@dataclass
class Examination:
    """A policy on the bench: ``run`` gives findings one by one, then ``episode`` holds what was played."""

    source: str
    engine: str = "transformers"
    env: str = "agentrl/KeyDoor-v0"
    batcher: str = "trie"
    episode: Trajectory | None = None
    tokenizer: Any = None

    def run(self) -> Iterator[Finding]:
        """Raises UserError where the policy cannot be loaded."""
        checked_engine(self.engine)
        where = locate(self.source)
        model, self.tokenizer = load_model(where)
        yield from template(self.tokenizer)
        policy: Learning = (
            TransformersPolicy(copy.deepcopy(model), self.tokenizer, name=self.source)
            if self.engine == "transformers"
            else VLLMPolicy(where, name=self.source, slots=EPISODES, trainer=model, server=server_of(self.engine))
        )
        try:
            yield from self._examined(policy, model, load_agent(where) or AgentConfig())
        finally:
            policy.close()

    def _examined(self, policy: Learning, model: Any, agent: AgentConfig) -> Iterator[Finding]:
        learner = Learner(model, OptimConfig(lr=STILL, batcher=self.batcher), LossConfig(max_logprob_gap=float("inf")))
        yield Finding("batches", not learner.notes, learner.notes[0] if learner.notes else f"{learner.batcher}")
        suite = Suite(name="doctor", parts=[Part(env=self.env, split="train", first=EPISODES)], turn_tokens=24)
        report = evaluate(suite, policy, agent=agent, name="doctor")
        played = [t for t in report.trajectories if t.trusted]
        if not played:
            raise UserError(f"no episode of {self.env} could be played with {self.source}: {report.stops}")
        self.episode = played[0]
        yield mask(played)
        yield from self._update(learner, policy, played)

    def _update(self, learner: Learner, policy: Learning, played: Sequence[Trajectory]) -> Iterator[Finding]:
        first = np.cumsum([0, *(len(t.turns) for t in played)])
        gain = np.random.default_rng(0).normal(size=int(first[-1]))
        before = checksum(learner.model)
        found = learner.update(samples_of(played, gain, first[:-1].tolist()), seed=0)
        gap = found["logprob_gap"]
        line = f"mean |sampler - trainer| logprob {gap:.2g}, at most {found['logprob_gap_max']:.2g}"
        yield Finding("sampler and trainer agree", gap <= LARGEST_GAP, f"{line}, over {EPISODES} episodes")
        norm = found["grad_norm"]
        yield Finding("there is a gradient", bool(np.isfinite(norm) and norm > 0), f"norm {norm:.3g}")
        same = checksum(learner.model) == before
        line = "no weight moves" if same else "weights moved without being asked to"
        yield Finding("learning rate 0", same, line)
        with torch.no_grad():
            for parameter in learner.model.parameters():
                parameter.add_(1e-3)
        yield arrival(policy, learner.model, before)


def arrival(policy: Learning, model: Any, before: str) -> Finding:
    """Whether a sampler that is sent a model's weights holds them; ``before``: the checksum of those it had."""
    try:
        policy.update(model.state_dict(), 1)
    except UserError as error:  # vLLM has compared what it says of a prompt with what the trainer says
        return Finding("weights arrive", False, str(error))
    if not isinstance(policy, TransformersPolicy):
        return Finding("weights arrive", True, "the engine says of a prompt what the trainer says")
    same = checksum(policy.model) == checksum(model) != before
    line = f"checksum {checksum(policy.model)}" if same else "the sampler does not hold the trainer's weights"
    return Finding("weights arrive", same, line)


def template(tokenizer: Any) -> Iterator[Finding]:
    """What the chat template does to the history, and whether text goes through the tokenizer unchanged."""
    lines = probe_template(tokenizer)
    yield Finding("chat template", None if lines else True, "; ".join(lines) or "appends, and rewrites nothing")
    lost = [text for text in _TEXTS if tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) != text]
    line = f"{lost[0]!r} comes back changed" if lost else "texts come back unchanged"
    # ids that were sampled are what is trained, so a lossy tokenizer only changes what a person reads
    yield Finding("tokenizer", None if lost else True, line)


_TEXTS = (
    "go to cabinet 1",
    "  two  spaces\n\nand lines",
    "<action>look</action>",
    "naïve 日本語 🙂",
    '{"a": [1, 2.5]}',
)


def mask(played: Sequence[Trajectory]) -> Finding:
    """Whether exactly the sampled tokens of trainable turns are trained."""
    sampled = sum(len(turn.completion_ids) for t in played for turn in t.turns if turn.trainable)
    zeros = np.zeros(sum(len(t.turns) for t in played))
    first = np.cumsum([0, *(len(t.turns) for t in played)])[:-1].tolist()
    samples = samples_of(played, zeros, first)
    trained = sum(int((s.weight > 0).sum()) for s in samples)
    share = trained / max(1, sum(len(s.ids) for s in samples))
    line = f"{trained} of {sum(len(s.ids) for s in samples)} tokens ({share:.0%}) carry loss: those that were sampled"
    wrong = f"{trained} tokens carry loss, {sampled} were sampled"
    return Finding("loss mask", trained == sampled, line if trained == sampled else wrong)


def pieces(episode: Trajectory, tokenizer: Any) -> list[tuple[str, bool]]:
    """The episode as text, in runs of tokens that carry loss (True) or do not."""
    found: list[tuple[str, bool]] = []
    for sample in samples_of([episode], np.zeros(len(episode.turns)), [0]):
        found += _runs(sample, lambda ids: str(tokenizer.decode(ids)))
    return found


def _runs(sample: Sample, decode: Callable[[list[int]], str]) -> Iterator[tuple[str, bool]]:
    on = sample.weight > 0
    edges = [0, *(np.flatnonzero(on[1:] != on[:-1]) + 1).tolist(), len(on)]
    for start, stop in pairwise(edges):
        yield decode(sample.ids[start:stop].tolist()), bool(on[start])


def checksum(model: torch.nn.Module) -> str:
    """Of all weights, by name, bit for bit."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
