"""A judge for tests: who said less wins, and of two equals neither does."""

from agentrl.types import Trajectory


def shorter(one: Trajectory, other: Trajectory) -> tuple[float, float]:
    said = [sum(len(turn.completion_ids) for turn in t.turns) for t in (one, other)]
    return (5.0, 5.0) if said[0] == said[1] else (10.0, 0.0) if said[0] < said[1] else (0.0, 10.0)
