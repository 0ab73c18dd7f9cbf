"""APPO: branch in the middle of replies, at the tokens the policy was least sure of."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from agentrl.rollout.stem import Stem
from agentrl.trainers.sampling.base import Brancher, Setting, Start
from agentrl.types import Group, Trajectory


class APPO(Brancher):
    """``roots`` episodes, half of the group by default, then as many branches as are left, in a second phase.

    A branch starts after a token t of the largest score ``z(H_t) z(F_t)``, z over an episode's tokens; ``F_t`` is the
    clipped future ratio of trainer to sampler, which is 1 everywhere where the two hold the same weights, as here:
    then ``z(H_t)`` alone decides. Whitespace is not told apart. Goes with the estimator ``appo``.

    Source: APPO, published code.
    """

    entropies: ClassVar[bool] = True

    roots: int | None = Field(None, ge=1)

    def begin(self, setting: Setting) -> int:
        return min(self.roots or -(-setting.size // 2), setting.size)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        if len(group) >= setting.size or any(t.parent for t in group):
            return []
        scored = sorted(
            ((-score, n, turn, token) for n, t in enumerate(group) if t.trusted for score, turn, token in scores(t)),
        )
        n = setting.size - len(group)
        best = [Start(group.task, Stem(group.trajectories[i], turn, token)) for _, i, turn, token in scored[:n]]
        return best + [Start(group.task)] * (n - len(best))


def scores(trajectory: Trajectory) -> list[tuple[float, int, int]]:
    """``z(H)``, turn and tokens of that turn's reply a branch there would share, for every place that has a next."""
    if not trajectory.sampled_tokens:
        return []
    entropies = np.concatenate([turn.entropies for turn in trajectory.turns]).astype(np.float64)
    z = (entropies - entropies.mean()) / (entropies.std() + 1e-6)
    found, at = [], 0
    for index, turn in enumerate(trajectory.turns):
        reply = len(turn.completion_ids)
        for token in range(reply):
            last = token + 1 == reply
            if not last:
                found.append((float(z[at + token]), index, token + 1))
            elif index + 1 < len(trajectory.turns):
                found.append((float(z[at + token]), index + 1, 0))
        at += reply
    return found
