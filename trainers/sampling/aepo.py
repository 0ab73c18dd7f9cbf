"""AEPO: how many episodes begin afresh is itself decided by entropy, and branching in a row is held back."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from agentrl.trainers.credit.allocation import aepo_budget
from agentrl.trainers.credit.branching import aepo_decide, paper_decide
from agentrl.trainers.sampling.arpo import ARPO, entropy, gap
from agentrl.trainers.sampling.base import Setting, Start
from agentrl.trainers.sampling.rounds import branched
from agentrl.types import Group, Trajectory


class AEPO(ARPO):
    """One episode is played as a probe; by the entropies of its turns ``m`` of the group's episodes are fresh.

    ``m`` is :func:`aepo_budget` of the first turn's entropy and the mean over all turns, or ``roots``. The others
    branch after a turn: ``rule="code"`` by :func:`aepo_decide`, ``rule="paper"`` by ``(alpha + beta dH)
    max(0, 1 - penalty c) > tau``. ``c`` counts the rounds in a row in which an episode's own path was branched; the
    published code counts them for the whole prompt. ``dH`` and all other options are ARPO's.

    Source: AEPO (arXiv 2510.14545).
    """

    roots: int | None = Field(None, ge=1, description="fresh episodes of a group; none: by entropy")
    sharpness: float = Field(0.5, ge=0, description="beta of the budget's sigmoid")
    penalty: float = Field(0.05, ge=0, description="of the paper's rule; the code's is 0.05")

    def begin(self, setting: Setting) -> int:
        return min(self.roots or 1, setting.size)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        missing = self._fresh(group.trajectories[0], setting) - len(group)
        if missing > 0 and all(t.parent is None for t in group):
            return [Start(group.task)] * missing
        streaks = _Streaks()

        def decide(trajectory: Trajectory, round: int, u: float) -> bool:
            c = streaks.of(trajectory, round)
            if self.rule == "code":
                return aepo_decide(u, gap(trajectory, round, self.tokens, setting), c, self.base, self.weight)
            dh = gap(trajectory, round + 1, self.tokens, setting, mean=True)
            return paper_decide(dh, self.alpha, self.beta, self.tau, c, self.penalty)[1]

        return branched(group, setting, decide, self.beam, streaks.note)

    def _fresh(self, probe: Trajectory, setting: Setting) -> int:
        if self.roots is not None or not (probe.trusted and probe.turns):
            return min(self.roots or -(-setting.size // 2), setting.size)
        each = [entropy(turn, self.tokens, setting) for turn in probe.turns]
        return aepo_budget(setting.size, each[0], sum(each) / len(each), self.sharpness)[1]


class _Streaks:
    """How many rounds in a row a path was branched; a branch goes on with its parent's."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, int]] = {}  # by path: the last round it was branched in, and the streak
        self._born: dict[tuple[str, int], int] = {}  # by parent and round: the streak

    def of(self, trajectory: Trajectory, round: int) -> int:
        born = (trajectory.branch_turn or 0) - 1
        last, streak = self._last.get(trajectory.id) or (born, self._born.get((trajectory.parent or "", born), 0))
        return streak if last == round - 1 else 0

    def note(self, round: int, sources: Sequence[Trajectory]) -> None:
        for t in {t.id: t for t in sources}.values():
            streak = self.of(t, round) + 1
            self._last[t.id], self._born[t.id, round] = (round, streak), streak
