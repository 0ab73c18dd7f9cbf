"""Branching in rounds, after every turn of a group: what is known is gone through again, what is missing is asked for.

The published loops decide while the group is being played. Here whole episodes are played, and the same loop is then
run over their turns: a branch that a round decides on and that the group does not hold yet is asked for, with all
others of that round. A branch depends on its stem alone, so that playing it later changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentrl.rollout.stem import Stem
from agentrl.trainers.credit.branching import branch_round
from agentrl.trainers.sampling.base import Setting, Start
from agentrl.types import Group, Trajectory, grouped

# of (trajectory, round, uniform draw) -> branch?
Decide = Callable[[Trajectory, int, float], bool]


def branched(
    group: Group,
    setting: Setting,
    decide: Decide,
    beam: int,
    noted: Callable[[int, Sequence[Trajectory]], None] = lambda round, sources: None,
) -> list[Start]:
    """What the first round that is not complete asks for; where all are, fresh episodes up to the group's size.

    Round r comes after turn r of all episodes; those that go on after it and did not fail may be branched there.
    ``noted`` hears which were, round by round.
    """
    if len(group) >= setting.size:
        return []
    members = [t for t in group if t.parent is None]
    children = grouped((t for t in group if t.parent is not None), lambda t: (t.parent, t.branch_turn or 0))
    count = len(members)
    for round in range(max((len(t.turns) for t in group), default=0)):
        active = [t for t in members if t.trusted and len(t.turns) > round + 1 and (t.branch_turn or 0) <= round]
        sources = branch_round(
            range(len(active)),
            lambda i, u, round=round, active=active: decide(active[i], round, u),  # type: ignore[misc]
            lambda i, attempt, round=round, active=active: setting.draw(  # type: ignore[misc]
                "branch", round, members.index(active[i]), attempt
            ),
            count,
            setting.size,
            beam,
        )
        chosen = [active[i] for i in sources]
        noted(round, chosen)
        asked: list[Start] = []
        for source in chosen:
            known = children.get((source.id, round + 1), [])
            if known:
                members.append(known.pop(0))
            else:
                asked.append(Start(group.task, Stem(source, round + 1)))
        if asked:
            return asked
        count += len(chosen)
    return [Start(group.task)] * (setting.size - len(group))
