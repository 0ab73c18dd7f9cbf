"""What gives the columns that credit needs and episodes alone do not hold: the critic, and continuations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentrl.errors import UserError
from agentrl.policies.transformers import TransformersPolicy
from agentrl.rollout.engine import Rollout
from agentrl.seeds import derive
from agentrl.trainers.continuations import continued
from agentrl.trainers.credit import Plan, TurnTable
from agentrl.trainers.progress import Observer
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.update import Learner
from agentrl.trainers.values import Critic, asked_next, scored, spoken
from agentrl.types import Trajectory

GIVERS = {"values": "value", "token_values": "value", "mc_values": "mc_value"}  # column -> key of the recipe


def check_scorers(plan: Plan, recipe: Recipe) -> None:
    """Raises UserError where a method needs what nothing gives, or a scorer's work would be for nothing."""
    for label, method in (*plan.transforms, *plan.estimators, *plan.modulators):
        for column in method.needs:
            giver = GIVERS.get(column)
            if giver and getattr(recipe, giver) is None:
                raise UserError(f"credit {label} needs {column}, which nothing in the recipe gives: set {giver}={{}}")
    if recipe.mc_value and "mc_values" not in plan.needs:
        raise UserError("mc_value: no method in credit asks for continuations; name mc-value")
    if recipe.value and plan.teacher is None:
        raise UserError("value: no estimator in credit says what values should have been; name gae or gae-token")


@dataclass
class Scorers:
    """Those that the recipe names."""

    recipe: Recipe
    plan: Plan
    learner: Learner
    rollout: Rollout
    policy: TransformersPolicy
    observer: Observer

    def fill(
        self, table: TurnTable, played: Sequence[Trajectory], iteration: int
    ) -> tuple[TurnTable, dict[str, dict[str, float]]]:
        """The table with their columns, and metrics by name. ``played``: its trajectories, in its order."""
        metrics: dict[str, dict[str, float]] = {}
        if self.learner.critic:
            table = self._expected(self.learner.critic, table, played)
        if self.recipe.mc_value:
            table, metrics["continuations"] = self._continued(self.recipe.mc_value.k, table, played, iteration)
        return table, metrics

    def _expected(self, critic: Critic, table: TurnTable, played: Sequence[Trajectory]) -> TurnTable:
        learner, window = self.learner, self.policy.window
        samples = spoken(played, table.start.tolist())
        cut = [t for t in played if "last_observation" in t.info]
        after = [self.rollout.next_prompt(t) for t in cut]
        ends = [asked_next(prompt[: window - 1]) for prompt in after]
        found, tails = (
            critic.values(learner.model, part, learner.batcher, learner.optim.positions) for part in (samples, ends)
        )
        last = {
            t.id: float(values[-1]) if len(prompt) < window else 0.0  # a full window is an end
            for t, prompt, values in zip(cut, after, tails, strict=True)
        }
        return scored(table, samples, found, last)

    def _continued(
        self, k: int, table: TurnTable, played: Sequence[Trajectory], iteration: int
    ) -> tuple[TurnTable, dict[str, Any]]:
        recipe = self.recipe
        self.observer.phase("continuations", k * len(table))
        return continued(
            table,
            played,
            self.rollout,
            k=k,
            gamma=self.plan.discount("mc_values"),
            temperature=recipe.rollout.temperature,
            seed=derive(recipe.seed, iteration),
            retries=recipe.rollout.retries,
            on_done=self.observer.episode,
        )
