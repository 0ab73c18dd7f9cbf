"""The graph of a group: its states, and the steps that its trajectories took between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agentrl.trainers.credit.normalise import joint
from agentrl.trainers.credit.table import Bools, Floats, Ints, TurnTable


@dataclass(frozen=True)
class Graph:
    """``source`` and ``target`` [N]: the nodes that each turn led from and to, numbered 0 .. K - 1 over all groups.

    ``last`` [N] marks last turns; ``group`` [K] the group of each node. The states after cuts, which nobody saw,
    are one node of their group that nothing leads away from.
    """

    source: Ints
    target: Ints
    last: Bools
    group: Ints

    @classmethod
    def of(cls, table: TurnTable) -> Graph:
        groups = np.concatenate([table.turn_group, table.turn_group])
        node = joint(groups, np.concatenate([table.anchor, table.next_anchor]))
        group = np.zeros(node.max(initial=-1) + 1, np.int64)
        group[node] = groups
        last = table.turn == table.length[table.trajectory] - 1
        return cls(node[: len(table)], node[len(table) :], last, group)

    def distance(self, goals: Ints) -> Floats:
        """[K] the fewest steps to a goal, along steps that were taken; inf where there is no way."""
        source, target = np.unique(np.stack([self.source, self.target]), axis=1)
        found = np.full(len(self.group), np.inf)
        found[goals] = 0.0
        while True:
            nearer = found.copy()
            np.minimum.at(nearer, source, found[target] + 1)
            if (nearer == found).all():
                return found
            found = nearer
