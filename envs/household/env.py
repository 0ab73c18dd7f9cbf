"""``Household-v0``: six ALFWorld task types in procedural rooms, on an engine that takes microseconds.

    env = Household(size="small")
    observation, info = env.reset(options={"task": "small-unseen-00003"})
    observation, reward, terminated, truncated, info = env.step("go to fridge 1")

``reward="sparse"`` pays 1 for the goal. ``reward="dense"`` pays that 1 in parts: a new sub-goal (hold the object, treat
it, light the lamp, place the first of two) pays its share once, by the furthest progress of the episode so far, and
the goal pays what is left. So a success is worth 1 either way, and going back and forth pays nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, ClassVar

from agentrl.envs.core import Env, Snapshot, StepResult
from agentrl.envs.household.alfworld import load
from agentrl.envs.household.engine import NOTHING, Engine
from agentrl.envs.household.expert import next_command
from agentrl.envs.household.layout import Layout
from agentrl.envs.household.tasks import SPLITS, layout_of, splits
from agentrl.errors import UserError, unknown
from agentrl.types import Action, Observation


class Household(Env):
    """Text commands in a household.

    ``size`` is ``tiny``, ``small``, ``medium`` or ``full``, or several joined by ``+``; with ``split`` it only decides
    which tasks a seed picks from. ``admissible`` adds the commands that mean something to every observation.
    ``game_file`` plays one official ALFWorld game file instead of generated tasks; its path is its task id.
    """

    instructions = (
        "Reply with one command: go to R, open R, close R, take O from R, move O to R, use O, clean O with R, "
        "heat O with R, cool O with R, examine X, inventory, look."
    )
    blocking: ClassVar[bool] = False
    snapshot_level = "exact"
    reward_names = ("goal", "subgoal")

    def __init__(
        self,
        size: str = "small",
        reward: str = "sparse",
        admissible: bool = False,
        split: str = "train",
        game_file: str | PathLike[str] | None = None,
    ) -> None:
        if reward not in ("sparse", "dense"):
            raise unknown("household reward", reward, ("sparse", "dense"))
        if split not in SPLITS:
            raise unknown("household split", split, SPLITS)
        self._game = None if game_file is None else (str(game_file), load(game_file))
        tasks = splits(size, None if game_file is None else str(game_file))[split]
        self.task_source: Callable[[], Sequence[str]] = lambda: tasks  # a split in the environment's name replaces it
        self._dense = reward == "dense"
        self._show_admissible = admissible
        self._picks = random.Random()
        self._engine: Engine | None = None
        self._task = ""
        self._paid = 0.0
        self._given = 0.0
        self._success = False
        self.max_turns = 50

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        task = (options or {}).get("task")
        if task is None:
            if seed is not None:
                self._picks.seed(seed)
            tasks = self.task_source()
            task = tasks[int(self._picks.random() * len(tasks))]
        task = str(task)
        layout = self._layout(task)
        self._begin(task, layout)
        goal = layout.goal
        observation = f"{layout.intro}\n\nYour task is to: {goal.text}"
        return self._shown(observation), {"task": task, "task_type": goal.kind}

    def step(self, action: Action) -> StepResult:
        engine = self._running()
        observation = engine.step(action) if isinstance(action, str) and not self._success else None
        valid = observation is not None
        rewards: dict[str, float] = {}
        if valid:
            self._success = engine.solved()
            if self._success:
                rewards["goal"] = 1.0 - self._paid
            elif self._dense and (gain := engine.progress() - self._paid) > 0:
                rewards["subgoal"] = gain
                self._paid += gain
        info = {
            "valid": valid,
            "success": self._success,
            "rewards": rewards,
            "task_type": engine.layout.goal.kind,
        }
        return self._shown(observation or NOTHING), sum(rewards.values(), 0.0), self._success, False, info

    def admissible_actions(self) -> list[Action]:
        """Every command but ``help`` that means something now, sorted; none after the end."""
        return [] if self._success else [*self._running().admissible()]

    def expert(self) -> Action:
        """The next command of an expert that knows no more than the transcript tells."""
        return next_command(self._running())

    def state_key(self) -> Any:
        """What the agent has seen of its place, what it holds, and how far it has come.

        The last part keeps apart the same place before and after a sub-goal, such as the first of two objects put in
        its place: what is still to be earned differs. It counts from the start, so that what a game file has done
        already, which the agent may not have seen, is not told.
        """
        engine = self._running()
        return *engine.seen_here(), engine.progress() - self._given

    def privileged_key(self) -> Any:
        """All that the future depends on: place, hands, doors, contents and marks, whether seen or not."""
        place, held, opened, _, contents, marks = self._running().save()
        return place, held, opened, [sorted(inside) for inside in contents], marks.hex(), self._paid

    def potential(self) -> float:
        """The share of the sub-goals reached now, below 1."""
        return self._running().progress()

    def snapshot(self) -> Snapshot:
        engine = self._running()
        return Snapshot((self._task, engine.layout, engine.save(), self._paid, self._success))

    def restore(self, snapshot: Snapshot) -> None:
        task, layout, state, paid, success = snapshot.state
        self._begin(task, layout)
        self._running().load(state)
        self._paid, self._success = paid, success

    def render(self) -> str:
        """The agent's surroundings and hands, as it knows them."""
        engine = self._running()
        return f"{engine.look()}\n{engine.inventory()}"

    def _begin(self, task: str, layout: Layout) -> None:
        self._task = task
        self._engine = Engine(layout)
        self._given = self._engine.progress()
        self._paid = 0.0
        self._success = False
        self.max_turns = layout.limit

    def _layout(self, task: str) -> Layout:
        if self._game is None:
            return layout_of(task)
        path, layout = self._game
        if task != path:
            raise unknown("household task", task, [path])
        return layout

    def _running(self) -> Engine:
        if self._engine is None:
            raise UserError("Household: call reset() before anything else")
        return self._engine

    def _shown(self, observation: str) -> str:
        if not self._show_admissible:
            return observation
        return f"{observation}\n\nYou can: {', '.join(map(str, self.admissible_actions()))}"
