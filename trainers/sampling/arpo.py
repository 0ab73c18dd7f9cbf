"""ARPO: branch where the policy is less sure, after the environment's answer, than it was at first."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from pydantic import Field

from agentrl.trainers.credit.branching import arpo_decide, paper_decide
from agentrl.trainers.sampling.base import Brancher, Setting, Start
from agentrl.trainers.sampling.rounds import branched
from agentrl.types import Group, Trajectory, Turn


class ARPO(Brancher):
    """Of a group's episodes ``roots`` are fresh, the others branch after a turn, by its entropy.

    ``dH`` is the entropy of a turn's first ``tokens`` tokens less that of the episode's first own turn, in units of
    ``ln vocabulary``. ``rule="code"``, the published code: summed over the tokens, and after turn t a branch iff
    ``clip(u - weight dH_t, 0, 1) <= base``, u drawn for (task, round, episode, attempt). ``rule="paper"``: the mean
    over the tokens that follow the environment's answer, and a branch before turn t iff ``alpha + beta dH_t > tau``;
    the paper's constants are from second hand. An episode is branched at most ``beam - 1`` times a round. Slots
    that nothing was branched for are filled with fresh episodes.

    Entropies are exact; the published code sums over the ten likeliest tokens. Only turns of the policy's own count.
    Source: ARPO (arXiv 2507.19849).
    """

    entropies: ClassVar[bool] = True

    rule: Literal["code", "paper"] = "code"
    roots: int | None = Field(None, ge=1, description="fresh episodes a group begins with; none: half of it")
    beam: int = Field(2, ge=2)
    tokens: int = Field(20, ge=1)
    base: float = Field(0.5, ge=0, le=1)
    weight: float = 0.2
    alpha: float = 0.5
    beta: float = 0.2
    tau: float = 0.5

    def begin(self, setting: Setting) -> int:
        return min(self.roots or -(-setting.size // 2), setting.size)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        def decide(trajectory: Trajectory, round: int, u: float) -> bool:
            if self.rule == "code":
                return arpo_decide(u, gap(trajectory, round, self.tokens, setting), self.base, self.weight)
            dh = gap(trajectory, round + 1, self.tokens, setting, mean=True)
            return paper_decide(dh, self.alpha, self.beta, self.tau)[1]

        return branched(group, setting, decide, self.beam)


def gap(trajectory: Trajectory, turn: int, tokens: int, setting: Setting, mean: bool = False) -> float:
    """Entropy of a turn less that of the trajectory's first own turn."""
    first = trajectory.turns[trajectory.shared]
    return entropy(trajectory.turns[turn], tokens, setting, mean) - entropy(first, tokens, setting, mean)


def entropy(turn: Turn, tokens: int, setting: Setting, mean: bool = False) -> float:
    """Of the first ``tokens`` tokens that were sampled, in units of ``ln vocabulary``; 0 for none."""
    taken = turn.entropies[:tokens].tolist()
    total = math.fsum(taken) / math.log(setting.vocabulary)
    return total / max(1, len(taken)) if mean else total
