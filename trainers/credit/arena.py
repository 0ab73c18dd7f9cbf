"""ArenaRL: the trajectories of a group are ranked by a knock-out tournament, and earn by rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from agentrl.trainers.credit.prices import charged, on_last_turns
from agentrl.trainers.credit.registry import transform
from agentrl.trainers.credit.table import TurnTable

Points = Callable[[Sequence[tuple[int, int]]], Sequence[tuple[float, float]]]  # pairs -> points of each side


@transform("arena", needs=["score:arena"])
def arena(table: TurnTable, state: Any) -> tuple[TurnTable, Any]:
    """``R' = 1 - rank / (G - 1)``, the best of a group getting 1 and the worst 0, in place of the outcome.

    That is the score ``arena``, equal on all turns of a trajectory, which the recipe's ``judge`` of pairs gives by
    :func:`tournament`; who is alone in a group keeps the outcome. Published with ``grpo`` as it is.

    Source: ArenaRL (Alibaba-NLP/qqr), its released code. Confidence high in the tournament.
    """
    return charged(table, on_last_turns(table, table.outcome - table.scores["arena"][table.start])), state


def tournament(count: int, points: Points) -> list[float]:
    """Rewards of ``count`` entrants, from single elimination that is seeded by matches against entrant 0.

    ``points`` is given the pairs of a round at once and says what each side got, as the sum over both orders. Seeding:
    everybody meets entrant 0, whose own seed is its mean. Bracket: best against worst in a power of two, where byes
    advance; the first of a pair (the better seed) wins a tie. Who loses in the same round is ranked by the mean of all
    points so far, the lower number first among equals. Costs 2 (count - 1) matches.
    """
    if count < 2:
        raise ValueError(f"a tournament needs two entrants, not {count}")
    got: list[list[float]] = [[] for _ in range(count)]

    def play(pairs: Sequence[tuple[int, int]]) -> list[bool]:
        found = points(pairs)
        for pair, sides in zip(pairs, found, strict=True):
            for entrant, side in zip(pair, sides, strict=True):
                got[entrant].append(float(side))
        return [one >= other for one, other in found]

    play([(entrant, 0) for entrant in range(1, count)])
    seeds = sorted(range(count), key=lambda entrant: (-_mean(got[entrant]), entrant))  # seed -> entrant
    alive = _bracket(1 << (count - 1).bit_length())  # seeds; those from count on are byes
    order: list[int] = []  # entrants from the last place up
    while len(alive) > 1:
        pairs = [(min(pair), max(pair)) for pair in zip(alive[::2], alive[1::2], strict=True)]
        met = [(seeds[one], seeds[other]) for one, other in pairs if other < count]
        won = dict(zip(met, play(met), strict=True))
        first = [other >= count or won[seeds[one], seeds[other]] for one, other in pairs]
        losers = [
            seeds[max(pair) if better else min(pair)]
            for pair, better in zip(pairs, first, strict=True)
            if max(pair) < count
        ]
        order += sorted(losers, key=lambda entrant: (_mean(got[entrant]), -entrant))
        alive = [pair[0] if better else pair[1] for pair, better in zip(pairs, first, strict=True)]
    order.append(seeds[alive[0]])
    rewards = [0.0] * count
    for place, entrant in enumerate(order):
        rewards[entrant] = place / (count - 1)
    return rewards


def _bracket(size: int) -> list[int]:
    """Seeds in the order of their places, so that the best two can meet in the last round only."""
    seeds = [0]
    while len(seeds) < size:
        seeds = [seed for one in seeds for seed in (one, 2 * len(seeds) - 1 - one)]
    return seeds


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
