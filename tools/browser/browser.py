"""The browser: a window with an address bar, a way back, and tabs.

class Mine(ar.ToolEnv):
    browser = Browser()

    async def start(self, task, rng):
        return await self.browser.open("http://127.0.0.1:8000/", ["http://127.0.0.1:8000"])
"""

from __future__ import annotations

import contextlib
from typing import Annotated
from urllib.parse import urljoin

from pydantic import Field

from agentrl.tools.browser.window import Window, act, close_quietly
from agentrl.tools.tool import ToolError, tool


class Browser(Window):
    """A :class:`Window` that can be led elsewhere, within the origins that it was opened with."""

    @tool
    @act
    async def back(self) -> None:
        """Go back to the page before."""
        if not await self._tab.back():
            raise ToolError("there is no page before this one")

    @tool
    @act
    async def goto(self, url: Annotated[str, Field(max_length=2_000)]) -> None:
        """Go to an address, which may begin where the page is (/path)."""
        with contextlib.suppress(ValueError):  # it only looks like an address
            url = urljoin(self.seen.url if self.seen else "", url)
        await self._goto(url)

    @tool
    @act
    async def tab(self, number: Annotated[int, Field(ge=1)], close: bool = False) -> None:
        """Change to a tab by its number, or close it."""
        if number > len(self._tabs):
            raise ToolError(f"there is no tab {number}; there are {len(self._tabs)}")
        if not close:
            self._at = number - 1
            await self._tab.page.bring_to_front()
        elif len(self._tabs) == 1:
            raise ToolError("the last tab stays open")
        else:
            await close_quietly(self._tabs.pop(number - 1).page)
            self._at = min(self._at, len(self._tabs) - 1)
