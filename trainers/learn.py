"""One update from episodes that somebody else played: sessions of ``agentrl serve``, or of ``agentrl collect``.

They must have been sampled by the policy that learns: an update compares their logprobs with its own, and stops where
they differ.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentrl import store
from agentrl.errors import UserError
from agentrl.policies.load import load_model, locate
from agentrl.seeds import derive
from agentrl.trainers import credit
from agentrl.trainers.batching import samples_of
from agentrl.trainers.credit import TurnTable
from agentrl.trainers.losses.objective import objective
from agentrl.trainers.models import save_policy
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.scorers import check_scorers
from agentrl.trainers.update import Learner
from agentrl.types import Group

# one update is not the beginning of a run, and a program tells nobody when two of its turns are alike
DEFAULTS = ("optim.warmup=0", "optim.anneal=false", "credit=[{grpo: {std: false}}]", "rewards=[]")


def learn(data: Sequence[Path], policy: str, out: Path, recipe: Recipe) -> dict[str, Any]:
    """Update ``policy`` by the groups stored in ``data`` and save it in ``out``; metrics.

    Of ``recipe`` rewards, credit, loss, optim and seed count. Raises UserError where nothing can be learnt, or where
    another policy sampled what is stored.
    """
    plan = credit.plan(recipe.rewards, recipe.credit)
    check_scorers(plan, recipe)
    needs = objective(recipe.loss.policy, recipe.loss.corrections, recipe.loss.terms).runnable().needs
    if lacks := {"demonstration", "teacher", "reference"} & {*needs}:
        raise UserError(f"learn has the policy alone: the loss needs a {', '.join(sorted(lacks))}")
    groups = merged([group for folder in data for group in store.read(folder)])
    whole = [group for group in groups if len([t for t in group if t.trusted]) > 1]
    if not whole:
        raise UserError(f"nothing to learn from: none of {len(groups)} tasks has two episodes to compare")
    table = TurnTable.from_groups(whole, recipe.anchor)
    kept = {t.id: t for group in whole for t in group}
    ordered = [kept[id] for id in table.ids]
    turns = [turn for t in ordered for turn in t.turns if len(turn.completion_ids)]
    temperatures = {float(turn.info.get("temperature", 1.0)) for turn in turns}
    if len(temperatures) != 1:
        found = ", ".join(f"{value:g}" for value in sorted(temperatures))
        raise UserError(f"episodes were sampled at {found or 'no temperature'}: agentrl serve --temperature sets one")
    given = credit.assign(table, recipe.rewards, recipe.credit, {})
    where = locate(policy)
    model, tokenizer = load_model(where)
    learner = Learner(model, recipe.optim, recipe.loss, temperatures.pop())
    samples = samples_of(ordered, given.advantages, table.start.tolist())
    metrics = learner.update(samples, derive(recipe.seed, "minibatches", 0))
    agent = Path(where) / "agent.json"
    save_policy(out, learner.model, tokenizer, json.loads(agent.read_text()) if agent.exists() else {})
    rewards = [t.reward for t in ordered]
    return metrics | {"tasks": len(whole), "episodes": len(ordered), "reward": sum(rewards) / len(rewards)}


def merged(groups: Sequence[Group]) -> list[Group]:
    """One group a task, whatever number of files it was stored in."""
    found: dict[tuple[str, str], Group] = {}
    for group in groups:
        known = found.setdefault((group.task.key, group.id), Group(group.task, group.id))
        known.trajectories += group.trajectories
    return list(found.values())
