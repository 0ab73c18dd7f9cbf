"""LATR: branch where the policy is unsure, look ahead, and drop branches that say what was said already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from agentrl.rollout.stem import Stem
from agentrl.trainers.sampling.base import Brancher, Setting, Start
from agentrl.types import Group, Trajectory


class LATR(Brancher):
    """A tree grown from ``roots`` episodes. Each wave branches at the places of highest entropy, above ``least`` nats,
    that no episode was branched at yet. A branch whose first ``window`` own tokens differ from those of its parent by
    less than ``distance`` (edits a token) is dropped, and another place is tried, for at most ``tries`` episodes for
    every one that the group has.

    The paper forces other likely tokens at the place of a branch; here the policy samples, so that branches are its own
    distribution. The paper looks ahead for ``window`` tokens only; here a branch that is dropped has been played to its
    end, and is stored.

    Source: LATR (arXiv 2510.24302), from its abstract; the constants are choices.
    """

    entropies: ClassVar[bool] = True

    roots: int | None = Field(None, ge=1, description="fresh episodes a group begins with; none: a quarter of it")
    least: float = Field(0.1, ge=0)
    window: int = Field(20, ge=1)
    distance: float = Field(0.4, ge=0, le=1)
    tries: float = Field(2.0, ge=1)

    def begin(self, setting: Setting) -> int:
        return min(self.roots or -(-setting.size // 4), setting.size)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        kept = self.keeps(group)
        missing = min(setting.size - len(kept), int(self.tries * setting.size) - len(group))
        if missing <= 0:
            return []
        used = {(t.parent, t.branch_turn, t.branch_token) for t in group if t.parent}
        places = sorted(
            (-entropy, number, turn, token)
            for number, t in enumerate(kept)
            if t.trusted
            for entropy, turn, token in unsure(t, self.least)
            if (t.id, turn, token or None) not in used
        )
        stems = [Stem(kept[number], turn, token) for _, number, turn, token in places[:missing]]
        starts = [Start(group.task, stem) for stem in stems]
        # where every place is used up, fresh episodes are what is left to ask for
        return starts or [Start(group.task)] * missing

    def keeps(self, group: Group) -> list[Trajectory]:
        known: dict[str, Trajectory] = {}
        for t in group:
            parent = known.get(t.parent or "")
            if t.parent is None or (parent is not None and self._differs(t, parent)):
                known[t.id] = t
        return list(known.values())

    def _differs(self, branch: Trajectory, parent: Trajectory) -> bool:
        own, other = (_after(t, branch.branch_turn or 0, branch.branch_token or 0) for t in (branch, parent))
        own, other = own[: self.window], other[: self.window]
        return edits(own, other) >= self.distance * max(len(own), len(other), 1)


def unsure(trajectory: Trajectory, least: float) -> list[tuple[float, int, int]]:
    """Entropy, turn and place in its reply of every own token of at least this entropy, which a branch replaces."""
    found = []
    for index, turn in enumerate(trajectory.turns):
        first = trajectory.branch_token or 0 if index == trajectory.branch_turn else 0
        if index >= trajectory.shared and turn.trainable:
            found += [(float(h), index, at) for at, h in enumerate(turn.entropies) if at >= first and h >= least]
    return found


def edits(a: Sequence[int], b: Sequence[int]) -> int:
    """Levenshtein distance."""
    row = np.arange(len(b) + 1)
    for i, x in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (x != y))
    return int(row[-1])


def _after(trajectory: Trajectory, turn: int, token: int) -> list[int]:
    """What was sampled from there on."""
    own = [t.completion_ids.tolist() for t in trajectory.turns[turn:]]
    return [id for ids in own for id in ids][token:]
