"""Hints: where a whole group failed, a few more tries are told how a solution begins, and more of it each time."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from agentrl import store
from agentrl.trainers.sampling.base import Brancher, Setting, Start
from agentrl.types import Group


class Hints(Brancher):
    """``tries`` more episodes of a group without a success, told the first actions of a solution stored in ``path``.

    One share of ``levels`` after the other, until one of them succeeds. A hint stands in the prompt, so it carries no
    loss; hinted episodes stay in the group, beside those that failed without. The papers put them in the place of the
    others: of all (GHPO) or of one (Scaf-GRPO). A task without a stored solution gets none.

    Source: GHPO (arXiv 2507.10628) and Scaf-GRPO, published code.
    """

    branches: ClassVar[bool] = False
    path: str = Field(description="folder or file of trajectories")
    levels: list[float] = Field([0.25, 0.5, 0.75], min_length=1)
    tries: int = Field(2, ge=1)

    def more(self, group: Group, setting: Setting) -> list[Start]:
        actions = self._solutions.get(group.task.key)
        level, told = divmod(len(group) - setting.size, self.tries)
        if actions is None or told or level >= len(self.levels) or any(t.success for t in group):
            return []
        shown = actions[: max(1, round(self.levels[level] * len(actions)))]
        return [Start(group.task, hint=f"A solution begins: {'; '.join(shown)}.")] * self.tries

    @cached_property
    def _solutions(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for group in store.read(Path(self.path)):
            for t in group:
                if t.trusted and t.success:
                    found.setdefault(t.task.key, [str(turn.action) for turn in t.turns if turn.valid])
        return found
