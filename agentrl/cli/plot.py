"""The picture of ``agentrl credit bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentrl.trainers.credit.bench import Score


def of_scores(scores: Sequence[Score], path: Path) -> None:
    """Spearman's correlation with the truth of each estimator, by group size, with intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(s.estimator for s in scores))
    sizes = sorted({s.size for s in scores})
    best = max(sizes)
    names.sort(key=lambda name: next(s.spearman.value for s in scores if (s.estimator, s.size) == (name, best)))
    figure, axes = pyplot.subplots(figsize=(7, 1 + 0.42 * len(names)))
    for number, size in enumerate(sizes):
        rows = [s for s in scores if s.size == size]
        heights = [names.index(s.estimator) + 0.18 * (number - (len(sizes) - 1) / 2) for s in rows]
        ends = [[max(0.0, s.spearman.value - s.spearman.ci_low) for s in rows]]
        ends += [[max(0.0, s.spearman.ci_high - s.spearman.value) for s in rows]]
        values = [s.spearman.value for s in rows]
        axes.errorbar(values, heights, xerr=ends, fmt="o", ms=4, capsize=2, label=f"groups of {size}")
    axes.set_yticks(range(len(names)), names)
    axes.axvline(0, color="0.7", lw=1)
    axes.set_xlabel("Spearman correlation with the true advantage of the turn")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
