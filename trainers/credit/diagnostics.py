"""Numbers that say whether a batch holds anything to learn from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from agentrl.trainers.credit.gigpo import anchor_groups
from agentrl.trainers.credit.normalise import joint
from agentrl.trainers.credit.table import TurnTable


def diagnose(table: TurnTable, named: Iterable[str] = ()) -> dict[str, float]:
    """Shares between 0 and 1; empty for an empty table.

    ``anchor_hit_rate``: turns whose anchor another trajectory of the group has too; where it is 0, GiGPO equals
    GRPO. ``anchor_singleton_share``: turns alone with their anchor. ``groups_no_signal``: groups whose outcomes are
    all equal; of these ``groups_all_fail`` and ``groups_all_pass``. The anchor figures are left out where no turn has
    an anchor; ``anchor_privileged`` is 1 where the anchors hold what no agent could know, and absent otherwise.
    ``earned_NAME``, for the rewards ``named``: trajectories that earned any of it.
    """
    if not len(table):
        return {}
    low = np.full(table.group.max() + 1, np.inf)
    high = -low
    np.minimum.at(low, table.group, table.outcome)
    np.maximum.at(high, table.group, table.outcome)
    flat = high - low < 1e-9
    passed = np.bincount(table.group, table.success)
    size = np.bincount(table.group)
    found = {
        **{f"earned_{name}": float((table.rewards.get(name, np.zeros(1)) != 0).mean()) for name in named},
        "groups_no_signal": float(flat.mean()),
        "groups_all_fail": float((flat & (passed == 0)).mean()),
        "groups_all_pass": float((flat & (passed == size)).mean()),
    }
    if (table.anchor < 0).all():
        return found
    anchor = anchor_groups(table)
    members = np.bincount(anchor)
    pairs = joint(anchor, table.trajectory)
    _, one_row_a_pair = np.unique(pairs, return_index=True)
    trajectories = np.bincount(anchor[one_row_a_pair])
    return {
        "anchor_hit_rate": float((trajectories[anchor] > 1).mean()),
        "anchor_singleton_share": float((members[anchor] == 1).mean()),
        **({"anchor_privileged": 1.0} if table.privileged else {}),
        **found,
    }
