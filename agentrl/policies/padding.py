"""Prompts of unequal width, cut into forwards."""

from __future__ import annotations

from collections.abc import Sequence

PREFILL_POSITIONS = 8192  # at most so many padded positions in one prompt forward
FORWARD = (128, 4096)  # positions that a forward costs beside its own: on a CPU, and on a GPU (a guess, not measured)


def batches(widths: Sequence[int], forward: int) -> list[slice]:
    """Cut prompts, sorted by width, into forwards of at most PREFILL_POSITIONS padded positions each, at least cost.

    What costs are padded positions, and each forward as much as ``forward`` of them.
    """
    ends = [i for i in range(1, len(widths) + 1) if i == len(widths) or widths[i] > widths[i - 1]]
    cost, cut = {0: 0}, {0: 0}  # of the prompts before an end, and where its last batch begins
    for end in ends:
        width = widths[end - 1]
        most = max(1, PREFILL_POSITIONS // width)
        cost[end], cut[end] = min(
            (before + (end - begin) * width + -(-(end - begin) // most) * forward, begin)
            for begin, before in cost.items()
        )
    found: list[slice] = []
    end = len(widths)
    while end:
        most = max(1, PREFILL_POSITIONS // widths[end - 1])
        found += [slice(i, min(i + most, end)) for i in range(cut[end], end, most)]
        end = cut[end]
    return sorted(found, key=lambda part: part.start)
