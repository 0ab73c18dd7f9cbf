"""What an iteration's episodes and samples say of themselves, for the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentrl.trainers.batching import Sample
from agentrl.types import Group, Trajectory, grouped


def episode_metrics(played: Sequence[Trajectory]) -> dict[str, Any]:
    """Success, return and what turns were like, of the trusted ones; how all of them ended."""
    trusted = [t for t in played if t.trusted]
    turns = [turn for t in trusted for turn in t.turns]
    whole = [t for t in trusted if t.whole] or trusted  # a branch is no independent try
    return {
        "success": float(np.mean([t.success for t in whole])),
        "return": float(np.mean([t.reward for t in whole])),
        "turns": float(np.mean([len(t.turns) for t in trusted])),
        "tokens_per_turn": float(np.mean([len(turn.completion_ids) for turn in turns])),
        "invalid_share": float(np.mean([not turn.valid for turn in turns])),
        "success_by_type": _by_type(whole),
        "stops": dict(sorted(Counter(t.stop.value for t in played).items())),
    }


def environment_metrics(groups: Sequence[Group]) -> dict[str, dict[str, float]]:
    """Of each environment, where there are several."""
    played = grouped(groups, lambda group: group.task.env)
    found = {}
    for env, own in sorted(played.items()) if len(played) > 1 else ():
        episodes = [t for group in own for t in group]
        told = episode_metrics(episodes) if any(t.trusted for t in episodes) else {}
        shown = ("success", "return", "turns", "tokens_per_turn", "invalid_share")
        found[env] = {"groups": len(own), "episodes": len(episodes)} | {k: told[k] for k in shown if k in told}
    return found


def lag_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    """Updates between the policy that sampled a token and the trainer, over trained tokens."""
    lags = np.concatenate([sample.columns["lag"][sample.turn >= 0] for sample in samples])
    return {"mean": float(lags.mean()), "max": float(lags.max())} if len(lags) else {}


def branch_metrics(played: Sequence[Trajectory]) -> dict[str, float]:
    """How many of the episodes grew from others, and what did not have to be made again for them."""
    grown = [t for t in played if not t.whole]
    stems = [t.turns[: t.shared] for t in grown]
    restored = [stem for t, stem in zip(grown, stems, strict=True) if t.info.get("restored") == "snapshot"]
    return {
        "count": len(grown),
        "share": len(grown) / max(1, len(played)),
        "saved_tokens": sum(len(turn.completion_ids) for stem in stems for turn in stem)
        + sum(t.branch_token or 0 for t in grown),
        "saved_env_steps": sum(len(stem) for stem in restored),
        "saved_tool_calls": sum(len(turn.tool_calls) for stem in restored for turn in stem),
    }


def _by_type(trajectories: Sequence[Trajectory]) -> dict[str, float]:
    kinds = grouped(trajectories, lambda t: str(t.info.get("task_type", t.task.env)))
    return {kind: float(np.mean([t.success for t in own])) for kind, own in sorted(kinds.items())}
