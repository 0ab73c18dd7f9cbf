"""Demonstrations that are learnt beside what the policy plays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agentrl import store
from agentrl.agents.chat import AgentConfig
from agentrl.errors import UserError
from agentrl.trainers.batching import Sample
from agentrl.trainers.sft import SFTConfig, Transcripts
from agentrl.trainers.worlds import agents_of, worlds_of


@dataclass(frozen=True)
class Demos:
    """``share``: of the samples of an iteration that are demonstrations."""

    samples: Sequence[Sample]
    share: float

    @classmethod
    def load(cls, path: str, share: float, tokenizer: Any, agent: AgentConfig, window: int) -> Demos:
        """Successful episodes stored in ``path``, told as the agent would have said them.

        Raises UserError where there is none that fits the window.
        """
        played = [t for group in store.read(Path(path)) for t in group if t.trusted and t.success]
        made = Transcripts(agents_of(worlds_of(played), tokenizer, agent), SFTConfig()).samples(played)
        fitting = [sample for sample in made if len(sample.ids) <= window]
        if not fitting:
            raise UserError(f"demos {path} hold no success that fits the model's window of {window} tokens")
        return cls(fitting, share)

    def mixed(self, samples: Sequence[Sample], seed: int) -> list[Sample]:
        """``samples`` and demonstrations drawn by ``seed``, told apart by the column "demonstration"."""
        rng = np.random.default_rng(seed)
        count = max(1, round(len(samples) * self.share / (1 - self.share)))
        turn = 1 + max(int(s.turn.max()) for s in samples)
        trajectory = 1 + max(s.trajectory for s in samples)
        mixed = [replace(s, columns={**s.columns, "demonstration": np.zeros(len(s.ids), np.float32)}) for s in samples]
        for k, index in enumerate(rng.integers(len(self.samples), size=count).tolist()):
            s = self.samples[index]
            mixed.append(
                replace(
                    s,
                    turn=np.where(s.turn >= 0, turn + k, -1).astype(np.int32),
                    trajectory=trajectory + k,
                    columns={  # a critic learns nothing from them
                        name: np.full(len(s.ids), np.nan if name == "returns" else 0.0, np.float32)
                        for name in samples[0].columns
                    }
                    | {"demonstration": np.ones(len(s.ids), np.float32)},
                )
            )
        return mixed
