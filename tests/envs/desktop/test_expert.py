"""The expert finds its way from wherever others have left the desktop."""

import random

import pytest

from agentrl.envs.desktop.expert import next_call
from agentrl.envs.desktop.tasks import TEMPLATES, goal_of
from agentrl.tools.desktop import Element, View
from agentrl.types import ToolCall

TITLES = (
    "user - Thunar", "home - Thunar", "Old - Thunar", "untitled", "Question", 'Rename "x"', "Save As", "galculator",
    "*Untitled 1 - Mousepad", "Create New Folder",
)  # fmt: skip


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_has_an_answer_to_every_desktop(template):
    rng = random.Random(template)
    for seed in range(60):
        goal = goal_of(f"{template}/{seed}")
        windows, ref = [], 0
        for title in rng.sample(TITLES, rng.randint(0, 3)):
            inside = []
            for _ in range(rng.randint(0, 5)):
                ref += 1
                name = rng.choice(["", "7", "AC", "View", goal.subject, *goal.keys])
                role = rng.choice(["button", "textbox", "cell", "menu"])
                value = rng.choice(["", "0", goal.subject]) if role == "textbox" else None
                inside.append(
                    Element(ref, role, name, (0, 0, 9, 9), rng.choice([(), ("selected",)]), value, window=title)
                )
            windows.append((title, tuple(inside)))
        view = View(tuple(windows), windows[-1][0] if windows else "")
        used = [ToolCall("press", key="Control+x"), ToolCall("double_click", ref=1)][: rng.randint(0, 2)]
        call = next_call(goal, view, dict(goal.before), used)
        assert call.name in ("done", "press", "click", "type", "double_click")
