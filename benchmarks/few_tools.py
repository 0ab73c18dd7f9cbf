"""Web pages and a desktop as small policies see them: with the few tools that the tasks need, for short prompts.

The schemas of all tools would be 900 tokens before the first observation.
"""

from __future__ import annotations

from typing import Any

import agentrl as ar
from agentrl.envs.desktop.env import Desktop
from agentrl.envs.desktop.tasks import splits
from agentrl.envs.miniwob.env import MiniWoB
from agentrl.envs.miniwob.tasks import splits as seeds

PAGES = ("click-test-2", "click-button", "click-tab", "click-dialog-2", "focus-text-2", "click-option")
TEMPLATE = "note-clear"


def only(cls: Any, *names: str) -> list[dict[str, Any]]:
    return [tool for tool in cls.tools if tool["function"]["name"] in names]


class FewPages(MiniWoB):
    """Do what is asked on the page."""


FewPages.tools = only(MiniWoB, "click")
for page in PAGES:
    ar.register(f"Few-{page}-v0", entry_point=FewPages, splits=seeds(), max_turns=6, kwargs={"page": page})


class FewDesktop(Desktop):
    """Do what is asked with the programs on the screen, then call done."""


FewDesktop.tools = only(Desktop, "type", "press", "done")
ar.register("Few-desktop-v0", entry_point=FewDesktop, splits=splits(TEMPLATE), max_turns=8)
