"""What the policy says of its tokens with the whole history in view, where the context rule has left some of it out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentrl.agents.chat import AgentConfig, ChatAgent
from agentrl.trainers.batching import Sample
from agentrl.trainers.update import Learner
from agentrl.trainers.worlds import agents_of, worlds_of
from agentrl.types import FloatArray, Trajectory


@dataclass
class WholeHistory:
    """Fills the column ``full``. ``window``: ids that the policy reads at most."""

    tokenizer: Any
    agent: AgentConfig
    window: int
    agents: dict[str, ChatAgent] = field(default_factory=dict)

    def fill(
        self, samples: Sequence[Sample], trajectories: Sequence[Trajectory], first_turn: Sequence[int], learner: Learner
    ) -> None:
        """Logprobs by the learner's present weights, NaN where the history is longer than the window.

        ``samples`` are those of the ``trajectories``, whose turns are numbered from ``first_turn`` on.
        """
        missing = [t for t in trajectories if t.task.env not in self.agents]
        told = self.agent.model_copy(update={"context": "full"})
        self.agents |= agents_of(worlds_of(missing), self.tokenizer, told) if missing else {}
        whole = [s for t, first in zip(trajectories, first_turn, strict=True) for s in self._of(t, first)]
        known: dict[int, FloatArray] = {}
        for sample, logprobs in zip(whole, learner.score(whole) if whole else [], strict=True):
            known |= {int(turn): logprobs[sample.turn == turn] for turn in np.unique(sample.turn[sample.turn >= 0])}
        for sample in samples:
            full = np.full(len(sample.ids), np.nan, np.float32)
            for turn in np.unique(sample.turn[sample.turn >= 0]):
                full[sample.turn == turn] = known.get(int(turn), np.nan)
            sample.columns["full"] = full

    def _of(self, trajectory: Trajectory, first: int) -> Iterator[Sample]:
        """The trajectory in samples whose prompts leave nothing out: one, where prompts continue each other."""
        chat = self.agents[trajectory.task.env].start()
        ids: list[int] = []
        turns: list[int] = []
        images: tuple[str, ...] = ()
        for number, turn in enumerate(trajectory.turns, first):
            prompt = chat.prompt(turn.info.get("shown", turn.observation)).tolist()
            completion = turn.completion_ids.tolist()
            if len(prompt) + len(completion) > self.window:
                break
            if prompt[: len(ids)] != ids or chat.images[: len(images)] != images:
                yield Sample.plain(ids, np.array(turns) >= 0, turns, images=images)
                ids, turns = [], []
            images = chat.images
            turns += [-1] * (len(prompt) - len(ids)) + [number] * len(completion)
            ids = prompt + completion
            chat.reply(turn.completion_ids, turn.text)
        if ids:
            yield Sample.plain(ids, np.array(turns) >= 0, turns, images=images)
