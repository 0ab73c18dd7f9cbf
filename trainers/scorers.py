"""What gives the columns that credit needs and episodes do not hold: critic, reward model, continuations, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentrl.errors import UserError
from agentrl.policies.base import Learning
from agentrl.rollout.engine import Rollout
from agentrl.seeds import derive
from agentrl.trainers import memory
from agentrl.trainers.action_values import ActionValues
from agentrl.trainers.continuations import continued
from agentrl.trainers.credit import Plan, TurnTable
from agentrl.trainers.implicit import ImplicitReward
from agentrl.trainers.judge import Judge
from agentrl.trainers.progress import Observer
from agentrl.trainers.recipe import Recipe
from agentrl.trainers.update import Learner
from agentrl.trainers.values import Critic, asked_next, scored, spoken
from agentrl.types import Trajectory

GIVERS = {  # column -> key of the recipe
    "values": "value",
    "token_values": "value",
    "mc_values": "mc_value",
    "token_rewards": "prime",
    "score:action_value": "agentprm",
    "score:arena": "judge",
}
_FOR = {  # key of the recipe -> what it gives, and who asks for that
    "mc_value": ("mc_values", "mc-value in credit"),
    "prime": ("token_rewards", "prime in credit"),
    "agentprm": ("score:action_value", "agentprm in rewards"),
    "judge": ("score:arena", "arena in rewards"),
}


def check_scorers(plan: Plan, recipe: Recipe) -> None:
    """Raises UserError where a method needs what nothing gives, or a scorer's work would be for nothing."""
    for label, method in (*plan.transforms, *plan.estimators, *plan.modulators):
        for column in method.needs:
            giver = GIVERS.get(column)
            if giver and getattr(recipe, giver) is None:
                value = "FILE.py:FUNCTION" if giver == "judge" else "{}"
                raise UserError(
                    f"credit {label} needs {column}, which nothing in the recipe gives: set {giver}={value}"
                )
    for key, (column, name) in _FOR.items():
        if getattr(recipe, key) and column not in plan.needs:
            raise UserError(f"{key}: no method asks for what it gives; name {name}")
    if recipe.value and plan.teacher is None:
        raise UserError("value: no estimator in credit says what values should have been; name gae or gae-token")


@dataclass
class Scorers:
    """Those that the recipe names."""

    recipe: Recipe
    plan: Plan
    learner: Learner
    rollout: Rollout
    policy: Learning
    observer: Observer

    def __post_init__(self) -> None:
        recipe, model = self.recipe, self.learner.model
        self.judge = Judge(recipe.judge) if recipe.judge else None
        self.models: dict[str, ImplicitReward | ActionValues] = {}  # of their own, by key of the recipe
        if recipe.prime:
            self.models["prime"] = ImplicitReward(recipe.prime, model)
        if recipe.agentprm:
            self.models["agentprm"] = ActionValues(recipe.agentprm, model)

    def fill(
        self, table: TurnTable, played: Sequence[Trajectory], iteration: int
    ) -> tuple[TurnTable, dict[str, dict[str, Any]]]:
        """The table with their columns, and metrics by name. ``played``: its trajectories, in its order."""
        metrics: dict[str, dict[str, Any]] = {}
        if self.learner.critic:
            with memory.phase("the critic's passes"):
                table = self._expected(self.learner.critic, table, played)
        for name, model in self.models.items():
            self.observer.phase(name, 0)
            samples = spoken(played, table.start.tolist())
            with memory.phase(f"the passes of {name}"):
                table, metrics[name] = model.score(table, samples, self.learner.batcher, self.learner.optim.positions)
        if self.recipe.mc_value:
            with memory.phase("the continuations", memory.SAMPLING):
                table, metrics["continuations"] = self._continued(self.recipe.mc_value.k, table, played, iteration)
        if self.judge:
            self.observer.phase("judge", 0)
            table, metrics["judge"] = self.judge.ranked(table, played)
            if error := metrics["judge"].pop("first_error", ""):
                self.observer.note(f"judge: {metrics['judge']['failed']} matches failed and count as ties ({error})")
        return table, metrics

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the learner's."""
        return {name: model.state() for name, model in self.models.items()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """What :meth:`state` gave, among other things; nothing of it in the checkpoint that a run begins with."""
        for name, model in self.models.items():
            if name in saved:
                model.load(saved[name])

    def _expected(self, critic: Critic, table: TurnTable, played: Sequence[Trajectory]) -> TurnTable:
        learner, window = self.learner, self.policy.window
        samples = spoken(played, table.start.tolist())
        cut = [t for t in played if "last_observation" in t.info]
        after = [self.rollout.next_prompt(t) for t in cut]
        fits = [len(prompt) < window for prompt, _ in after]  # a full window is an end
        ends = [asked_next(*end) if fit else asked_next(end[0][:1]) for end, fit in zip(after, fits, strict=True)]
        found, tails = (
            critic.values(learner.model, part, learner.batcher, learner.optim.positions) for part in (samples, ends)
        )
        last = {t.id: float(values[-1]) if fit else 0.0 for t, fit, values in zip(cut, fits, tails, strict=True)}
        return scored(table, samples, found, last)

    def _continued(
        self, k: int, table: TurnTable, played: Sequence[Trajectory], iteration: int
    ) -> tuple[TurnTable, dict[str, Any]]:
        recipe = self.recipe
        return continued(
            table,
            played,
            self.rollout,
            k=k,
            gamma=self.plan.discount("mc_values"),
            temperature=recipe.rollout.temperature,
            seed=derive(recipe.seed, iteration),
            retries=recipe.rollout.retries,
            observer=self.observer,
        )
