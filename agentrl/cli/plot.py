"""The picture of ``agentrl credit bench``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentrl.trainers.credit.bench import Score


def of_scores(scores: Sequence[Score], path: Path) -> None:
    """Agreement with the truth of each estimator, by group size, with intervals: turn by turn, and as a gradient."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(dict.fromkeys(s.estimator for s in scores))
    sizes = sorted({s.size for s in scores})
    names.sort(key=lambda name: next(s.by_episode.value for s in scores if (s.estimator, s.size) == (name, sizes[-1])))
    figure, panels = pyplot.subplots(1, 2, figsize=(11, 1 + 0.42 * len(names)), sharey=True)
    titles = {
        "spearman": "turn by turn: Spearman's correlation",
        "by_episode": "as a gradient: cosine, by step, an episode counting as one",
    }
    for axes, (figure_of, title) in zip(panels, titles.items(), strict=True):
        for number, size in enumerate(sizes):
            rows = [(s.estimator, getattr(s, figure_of)) for s in scores if s.size == size]
            heights = [names.index(name) + 0.18 * (number - (len(sizes) - 1) / 2) for name, _ in rows]
            ends = [[max(0.0, m.value - m.ci_low) for _, m in rows], [max(0.0, m.ci_high - m.value) for _, m in rows]]
            values = [m.value for _, m in rows]
            axes.errorbar(values, heights, xerr=ends, fmt="o", ms=4, capsize=2, label=f"groups of {size}")
        axes.set_title(title, fontsize=9)
        axes.axvline(0, color="0.7", lw=1)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
