"""A run at a glance, as plain data: curves, before and after, and every group that was played."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from agentrl.errors import UserError
from agentrl.evaluation.statistics import clustered
from agentrl.store.frames import Trajectories
from agentrl.trainers.credit.batches import recipe_of
from agentrl.trainers.record import Record, flat

DRAWS = 400  # of the bootstrap behind a curve's band
_SHOWN = ("env", "kwargs", "policy", "rewards", "credit", "seed")  # of the recipe
_EPISODES = ("id", "group", "task", "iteration", "success", "reward", "n_turns", "sampled_tokens", "stop_reason")


def version(run: Path) -> str:
    """Changes when there is something new to see."""
    files = [*run.glob("*.json*"), *(run / "trajectories").glob("*.parquet"), *run.glob("*.parquet")]
    return "-".join(str(n) for n in (len(files), *sorted(f.stat().st_mtime_ns for f in files)[-1:]))


def overview(run: Path) -> dict[str, Any]:
    """Everything but the turns. Raises UserError where nothing is stored yet."""
    seen = version(run)  # before anything is read, so that what comes meanwhile is asked for again
    table = Trajectories(run).table([*_EPISODES, "trusted", "parent", "task_type"])
    episodes: dict[str, list[Any]] = {name: table[name].to_pylist() for name in (*_EPISODES, "trusted", "parent")}
    episodes["type"] = table["task_type"].to_pylist()
    summary, recipe = _json(run / "summary.json"), recipe_of(run)
    return {
        "name": run.resolve().name,
        "version": seen,
        "status": "done" if summary else "running" if recipe else "stored",
        "stopped": (summary or {}).get("stopped"),
        "wall_s": (summary or {}).get("wall_s"),
        "iterations": recipe.get("iterations"),
        "recipe": {key: recipe[key] for key in _SHOWN if key in recipe},
        "metrics": _metrics(run),
        "curve": _curve(episodes),
        "before": _evaluation(run / "before.json"),
        "after": _evaluation(run / "after.json"),
        "episodes": episodes,
    }


def _curve(episodes: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Success of each iteration with an interval over its groups; a branch is no independent try."""
    found: dict[int, dict[str, list[float]]] = {}
    columns = ("iteration", "group", "success", "trusted", "parent")
    for iteration, group, success, trusted, parent in zip(*(episodes[name] for name in columns), strict=True):
        if iteration is not None and trusted and parent is None:
            found.setdefault(iteration, {}).setdefault(group, []).append(float(success))
    rows = []
    for iteration, groups in sorted(found.items()):
        low, high = clustered(groups, DRAWS)
        n = sum(map(len, groups.values()))
        mean = sum(map(sum, groups.values())) / n
        rows.append({"iteration": iteration, "mean": mean, "low": min(low, mean), "high": max(high, mean), "n": n})
    return rows


def _metrics(run: Path) -> list[dict[str, float]]:
    """The numbers of each iteration under flat names."""
    return [{name: x for name, x in flat(line).items() if math.isfinite(x)} for line in Record(run).metrics()]


def _evaluation(path: Path) -> dict[str, Any] | None:
    found = _json(path)
    return {key: value for key, value in found.items() if key != "by_task"} if found else None


def _json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except json.JSONDecodeError:
        raise UserError(f"{path} is damaged") from None
    return found if isinstance(found, dict) else None
