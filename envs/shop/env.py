"""``agentrl/Shop-v0``: buy what is asked for, by ``search[words]`` and ``click[name]``.

    env = Shop()
    observation, info = env.reset(options={"task": "unseen-00003"})
    observation, reward, terminated, truncated, info = env.step("search[running shoes memory foam]")

The reward comes at ``click[buy now]`` and is WebShop's, 0 to 1 (``score.py``); success is a reward of 1.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from agentrl.envs.core import Env, ResetResult, Snapshot, StepResult
from agentrl.envs.shop import store
from agentrl.envs.shop.catalogue import catalogue
from agentrl.envs.shop.expert import TURNS, Seen, look, next_action
from agentrl.envs.shop.score import Goal, score
from agentrl.envs.shop.store import State
from agentrl.envs.shop.tasks import goal_of
from agentrl.errors import UserError, unknown
from agentrl.types import Action

NOTHING = "Nothing happens."
_WORD = re.compile(r"[a-z][a-z0-9'-]+")


class Shop(Env):
    """A store of twelve thousand products. ``reward="success"`` pays 1 for a purchase with everything right, else 0."""

    instructions = (
        "Buy what is asked for, within the price. Reply with one action: search[words] on the search page, "
        "or click[name] with a name in brackets. Choose the options before click[buy now], which ends it."
    )
    blocking: ClassVar[bool] = False
    snapshot_level = "exact"

    def __init__(self, reward: str = "score") -> None:
        if reward not in ("score", "success"):
            raise unknown("shop reward", reward, ("score", "success"))
        self._partial = reward == "score"
        self._task: str | None = None
        self._state, self._seen = State(), Seen()
        self.max_turns = TURNS

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> ResetResult:
        task = str(self.pick_task(seed, options))
        goal = goal_of(task)
        self._task, self._state, self._seen = task, State(), Seen()
        return f"{goal.text}\n{self._text()}", {"task": task, "kind": goal.product.kind, "level": goal.level}

    def step(self, action: Action) -> StepResult:
        goal = self._goal()
        after = store.step(self._state, action) if isinstance(action, str) else None
        if after is None:
            return f"{NOTHING}\n{self._text()}", 0.0, self._state.bought, False, {"valid": False, "success": False}
        self._state = after
        self._seen |= look(after)
        reward = 0.0
        info: dict[str, Any] = {"valid": True, "success": False}
        if after.bought:
            assert after.product is not None
            info["score"] = score(catalogue()[after.product], dict(after.chosen), goal)
            info["success"] = info["score"] == 1.0
            reward = info["score"] if self._partial else float(info["success"])
        return self._text(), reward, after.bought, False, info

    def admissible_actions(self) -> list[Action]:
        """What can be clicked; on the search page the request, and each of its words, as queries."""
        page = store.page_of(self._state)
        if not page.search_bar:
            return [f"click[{name}]" for name in page.clickable]
        text = self._goal().text
        return [f"search[{query}]" for query in dict.fromkeys([text, *_WORD.findall(text)])]

    def expert(self) -> Action:
        """The next action of a buyer who knows no more than the pages have shown."""
        return next_action(self._state, self._seen, self._goal())

    def state_key(self) -> Any:
        """The page, as far as it can be seen: two searches with equal results are one state."""
        return store.text_of(store.page_of(self._state))

    def snapshot(self) -> Snapshot:
        self._goal()
        return Snapshot((self._task, self._state, self._seen))

    def restore(self, snapshot: Snapshot) -> None:
        self._task, self._state, self._seen = snapshot.state

    def render(self) -> str:
        """The request and the page."""
        return f"{self._goal().text}\n{self._text()}"

    def _goal(self) -> Goal:
        if self._task is None:
            raise UserError("Shop: call reset() before anything else")
        return goal_of(self._task)

    def _text(self) -> str:
        return store.text_of(store.page_of(self._state))
