"""What a run leaves behind: recipe, machine, metrics, summary, curve and examples."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from agentrl import __version__
from agentrl.errors import UserError
from agentrl.store.files import point, write_text
from agentrl.store.rows import transcript
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.trackers import Name, Tracker, check, started
from agentrl.types import Trajectory


class Record:
    """A run folder. Every file is small, appended line by line or replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trajectories = folder / "trajectories"
        self.credit = folder / "credit"
        self.passes = folder / "passes"
        self.journal = folder / "journal"
        self.checkpoints = folder / "checkpoints"
        self._follow: tuple[Sequence[Name], dict[str, Any]] = (("tensorboard",), {})
        self._trackers: list[Tracker] | None = None

    def start(self, recipe: Recipe, again: bool = False) -> None:
        """Make the folder. Raises UserError where there is a run in it already, unless that is to begin ``again``."""
        if not again and (self.folder / "recipe.yaml").exists():
            raise UserError(
                f"{self.folder} holds a run already; go on with --resume {self.folder}, or choose another -o"
            )
        self.trajectories.mkdir(parents=True, exist_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        self.write("recipe.yaml", yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False))
        self.json("versions.json", _versions())
        _link_last(self.folder)

    def cut(self, iteration: int) -> None:
        """Forget metrics, credit and passes from ``iteration`` on: a resumed run makes them again, the same."""
        for file in [*self.credit.glob("*.parquet"), *self.passes.glob("*.parquet")]:
            if int(file.stem) >= iteration:
                file.unlink()
        lines = [line for line in self.metrics() if line["iteration"] < iteration]
        self.write("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))

    def metrics(self) -> list[dict[str, Any]]:
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        found = []
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:  # the last line of a killed run
                break
        return found

    def track(self, recipe: Recipe) -> None:
        """Send metrics to the recipe's trackers, from the first on. Raises UserError for one that is not installed."""
        check(recipe.trackers)
        self._follow = (recipe.trackers, recipe.model_dump(mode="json"))

    def log(self, metrics: dict[str, Any]) -> None:
        with (self.folder / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(metrics) + "\n")
        if self._trackers is None:
            names, config = self._follow
            self._trackers = started(names, self.folder, config)
        numbers = flat(metrics)
        step = int(numbers.pop("iteration"))
        for tracker in self._trackers:
            tracker.log(numbers, step)

    def json(self, name: str, data: Any) -> None:
        self.write(name, json.dumps(data, indent=1) + "\n")

    def read_json(self, name: str) -> Any:
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else None

    def write(self, name: str, text: str) -> None:
        write_text(self.folder, name, text)

    def close(self) -> None:
        for tracker in self._trackers or ():
            tracker.close()
        self._trackers = None

    def curve(self) -> None:
        """``learning_curve.png``: training success by iteration, and before/after on the suite."""
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        lines = self.metrics()
        if not lines:
            return
        figure, axes = pyplot.subplots(figsize=(7, 4))
        steps = [line["iteration"] + 1 for line in lines]
        axes.plot(steps, [100 * line["success"] for line in lines], lw=1, alpha=0.5, label="training episodes")
        width = max(1, len(lines) // 10)
        mean = [
            sum(x["success"] for x in lines[max(0, i - width + 1) : i + 1]) / min(i + 1, width)
            for i in range(len(lines))
        ]
        axes.plot(steps, [100 * m for m in mean], lw=2, color="C0", label=f"mean of {width}")
        for at, name, colour in ((0, "before", "C7"), (steps[-1], "after", "C2")):
            rate = self.read_json(f"{name}.json")
            if rate:
                low, high = rate["success"] - rate["ci_low"], rate["ci_high"] - rate["success"]
                label = f"{name}: {rate['suite']} {rate['success']:.0%}"
                axes.errorbar(
                    [at],
                    [100 * rate["success"]],
                    [[100 * low], [100 * high]],
                    fmt="o",
                    capsize=4,
                    color=colour,
                    label=label,
                )
        axes.set(xlabel="iteration", ylabel="success (%)", ylim=(0, 100), title=self.folder.name)
        axes.grid(alpha=0.3)
        axes.legend(loc="upper left", fontsize=8)
        figure.tight_layout()
        figure.savefig(self.folder / "learning_curve.png", dpi=120)
        pyplot.close(figure)

    def examples(self, trajectories: Sequence[Trajectory], count: int = 5) -> None:
        """``examples.txt``: some trajectories as people read them, failures and successes."""
        wins = [t for t in trajectories if t.success]
        losses = [t for t in trajectories if not t.success]
        chosen = [*wins[: count - count // 2], *losses[: count // 2]]
        chosen += [t for t in trajectories if t not in chosen][: count - len(chosen)]
        self.write("examples.txt", "\n\n".join(transcript(t) for t in chosen) + "\n")


def flat(metrics: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among metrics, under names such as ``update/loss``."""
    found: dict[str, float] = {}
    for key, value in metrics.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}/")
        elif isinstance(value, int | float):
            found[prefix + key] = float(value)
    return found


def _versions() -> dict[str, Any]:
    packages = {}
    for name in ("torch", "transformers", "tokenizers", "numpy", "pyarrow", "gymnasium"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "absent"
    return {
        "agentrl": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": packages,
        "git": _git(),
        "command": sys.argv,
    }


def _git() -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None


def _link_last(folder: Path) -> None:
    """``runs/last`` links to the newest run."""
    link = folder.parent / "last"
    if link.is_symlink() or not link.exists():
        point(folder.parent, "last", folder)
