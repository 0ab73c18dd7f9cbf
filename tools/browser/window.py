"""A tab or a few in Chromium, read as a compact accessibility tree, acted on with a real mouse and keys."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError
from pydantic import Field

from agentrl.tools.browser.chromium import Chromium, shared
from agentrl.tools.browser.tab import Dead, Tab
from agentrl.tools.browser.view import View
from agentrl.tools.tool import ToolError, Toolset, tool
from agentrl.types import Content

RENEWED = 8  # episodes a context lasts: Playwright keeps an object for each navigation until it is closed
TABS = 4  # a page that opens more loses them
_LONGEST = 2_000  # characters typed at once

Place = Annotated[int, Field(ge=0, le=10_000)]
Ref = Annotated[int, Field(ge=1, description="the number of an element, as in [3]")]
P = ParamSpec("P")
T = TypeVar("T")
W = TypeVar("W", bound="Window")
Asked = Callable[Concatenate[W, P], Coroutine[Any, Any, T]]


def _in_browser(method: Asked[W, P, T]) -> Asked[W, P, T]:
    """A method that is awaited in the loop of the process's Chromium, whatever loop asks."""

    @functools.wraps(method)
    async def asked(self: W, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(method(self, *args, **kwargs))

    return asked


def act(method: Asked[W, P, None]) -> Asked[W, P, Content]:
    """What the agent does with the page, as a tool: it is then told what there is to see."""

    @functools.wraps(method)
    async def acted(self: W, /, *args: P.args, **kwargs: P.kwargs) -> Content:
        return await self._acted(method(self, *args, **kwargs))

    return _in_browser(acted)


class Window(Toolset):
    """A context of its own in the process's Chromium, emptied between episodes and replaced after some.

    ``screenshot`` adds a picture to every answer, ``marks`` the elements' numbers on it. ``root`` and ``skip`` are
    CSS selectors of what to look at and what to leave out; ``leaves`` numbers everything that has nothing inside, for
    pages that take clicks without saying so; ``places`` tells where each element is, ``address`` where the page is.
    A page that does not answer within ``seconds`` is closed. What the last look saw is in ``seen``.
    """

    snapshot_level = "replay"
    at_once = 8 * (os.cpu_count() or 1)  # each is processes of 60 MB

    def __init__(
        self,
        width: int = 1024,
        height: int = 768,
        screenshot: bool = False,
        marks: bool = True,
        root: str | None = None,
        skip: str | None = None,
        leaves: bool = False,
        places: bool = False,
        address: bool = True,
        seconds: float = 20.0,
    ) -> None:
        self.size = {"width": width, "height": height}
        self.screenshot, self.marks, self.seconds = screenshot, marks, seconds
        self.places, self.address = places, address
        self._how = {"root": root, "skip": skip, "leaves": leaves}
        self.seen: View | None = None
        self.origins: tuple[str, ...] = ()
        self._chromium: Chromium | None = None
        self._context: BrowserContext | None = None
        self._tabs: list[Tab] = []
        self._at = 0
        self._episodes = 0
        self._notes: list[str] = []

    # ---- for environments

    @_in_browser
    async def open(self, url: str, origins: Sequence[str]) -> Content:
        """Begin at ``url`` with nothing kept from before; only ``origins`` can be reached (``file://`` with a path)."""
        assert self._chromium is not None
        async with self._chromium.opening:
            if not self._lives() or tuple(origins) != self.origins or self._episodes >= RENEWED:
                await self._renew(tuple(origins))
                self._episodes = 0
            else:
                await self._empty()
            self._notes = []
            self._episodes += 1
            await self._goto(url)
            seen = await self._look()
            if not self._tab.dead:
                await self._tab.forget()  # there is no way back into the episode before
            return seen

    @_in_browser
    async def look(self) -> Content:
        """The page as it is now."""
        return await self._look()

    @_in_browser
    async def evaluate(self, script: str, argument: Any = None) -> Any:
        """Run a script of the environment's own in the page's world. Raises RuntimeError where the page is dead."""
        return await self._evaluate(script, argument)

    @_in_browser
    async def begin(self, script: str, argument: Any = None) -> tuple[Any, Content]:
        """For a page that a script begins anew, without loading it: what the script gives, and the page then.

        The mouse is out of the way, and elements count from 1.
        """
        await self._tab.page.mouse.move(0, 0)
        value, _ = await asyncio.gather(self._evaluate(script, argument), self._tab.call("renumber"))
        return value, await self._look()

    def at(self, url: str) -> bool:
        """Whether this is all that is open."""
        return self._lives() and len(self._tabs) == 1 and not self._tab.dead and self._tab.page.url == url

    def reset(self) -> None:
        self.seen = None
        self._notes = []

    def close(self) -> None:
        context, self._context, self._tabs = self._context, None, []
        if context is not None and self._chromium is not None:
            self._chromium.submit(close_quietly(context))

    # ---- what the agent calls

    @tool
    @act
    async def click(self, ref: Ref) -> None:
        """Click an element."""
        await self._tab.page.mouse.click(*await self._point(ref))

    @tool
    @act
    async def type(self, ref: Ref, text: str, submit: bool = False) -> None:
        """Replace the text of a field, and press Enter after it if submit."""
        keyboard, text = self._tab.page.keyboard, text[:_LONGEST].encode("utf-8", "replace").decode()
        x, y = await self._point(ref)
        if not await self._tab.call("fill", ref, text):
            await self._tab.page.mouse.click(x, y)
            await self._tab.call("all", ref)
            if not text:
                await keyboard.press("Delete")
            await (keyboard.type(text) if len(text) <= 200 else keyboard.insert_text(text))
        if submit:
            await keyboard.press("Enter")

    @tool
    @act
    async def press(self, key: Annotated[str, Field(max_length=40)]) -> None:
        """Press a key or a combination, as Enter, Tab, ArrowDown, Control+a."""
        try:
            await self._tab.page.keyboard.press(key)
        except PlaywrightError:
            raise ToolError(f"there is no key {key!r}") from None

    @tool
    @act
    async def select(self, ref: Ref, option: str) -> None:
        """Choose an option of a list by its text; in a list of several, choose it or take it back."""
        found = await self._tab.call("select", ref, option.encode("utf-8", "replace").decode()[:_LONGEST])
        if "gone" in found:
            raise ToolError(f"there is no element {ref} here")
        if "wrong" in found:
            raise ToolError(f"element {ref} is no list; click it")
        if "known" in found:
            raise ToolError(f"element {ref} has no such option; it has {', '.join(found['known'])}")

    @tool
    @act
    async def scroll(self, direction: Literal["up", "down"], ref: Ref | None = None) -> None:
        """Scroll the page, or the part of it that an element is in."""
        found = await self._tab.call("scroll", ref, direction == "down")
        if "gone" in found:
            raise ToolError(f"there is no element {ref} here")
        if not found["moved"]:
            self._note("it is scrolled as far as it goes")

    @tool
    @act
    async def hover(self, ref: Ref) -> None:
        """Move the mouse over an element."""
        await self._tab.page.mouse.move(*await self._point(ref))

    @tool
    @act
    async def click_at(self, x: Place, y: Place) -> None:
        """Click at a place in the window, in pixels from its upper left corner."""
        await self._tab.page.mouse.click(x, y)

    @tool
    @act
    async def drag(self, x: Place, y: Place, to_x: Place, to_y: Place) -> None:
        """Press the mouse at one place, move it to another, and release it there."""
        mouse = self._tab.page.mouse
        await mouse.move(x, y)
        await mouse.down()
        await mouse.move(to_x, to_y, steps=5)
        await mouse.up()

    # ---- in the browser's loop

    async def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._chromium is None:
            self._chromium = shared()
        return await self._chromium.run(coroutine)

    async def _acted(self, coroutine: Coroutine[Any, Any, None]) -> Content:
        if self._context is None:
            coroutine.close()
            raise RuntimeError("the browser is not open")
        try:
            async with asyncio.timeout(2 * self.seconds):
                await coroutine
        except Dead:
            pass  # the look tells
        except TimeoutError:
            self._tab.die("the page did not answer and was closed")
        except PlaywrightError as error:
            if not self._lives():
                raise
            raise ToolError(str(error).splitlines()[0][:200]) from None
        return await self._look()

    def _lives(self) -> bool:
        context = self._context
        return context is not None and context.browser is not None and context.browser.is_connected()

    @property
    def _tab(self) -> Tab:
        return self._tabs[self._at]

    def _note(self, text: str) -> None:
        self._notes.append(text)

    async def _renew(self, origins: tuple[str, ...]) -> None:
        assert self._chromium is not None
        if self._context is not None:
            await close_quietly(self._context)
        self.origins, self._tabs, self._at = origins, [], 0
        sites = [origin for origin in origins if not origin.startswith("file:")]
        self._context = await self._chromium.context(sites, viewport=self.size)
        self._context.set_default_timeout(self.seconds * 1000)
        if len(sites) < len(origins):
            await self._context.route("file://**", self._route)
        self._context.on("page", self._opened)
        await self._context.new_page()

    async def _route(self, route: Any) -> None:
        await (route.continue_() if self._allowed(route.request.url) else route.abort())

    async def _empty(self) -> None:
        """What the last episode left: tabs, cookies, storage."""
        context = self._context
        assert context is not None
        keep = None
        for tab in self._tabs:
            if not tab.dead and not tab.page.is_closed():
                with contextlib.suppress(Dead, PlaywrightError):
                    await tab.leave()
                    keep = keep or tab
        for tab in self._tabs:
            if tab is not keep:
                await close_quietly(tab.page)
        self._tabs, self._at = [keep] if keep else [], 0
        if keep is None:
            await context.new_page()
        sites = [origin for origin in self.origins if not origin.startswith("file:")]
        await asyncio.gather(context.clear_cookies(), *(self._tab.clear(origin) for origin in sites))

    def _opened(self, page: Page) -> None:
        assert self._chromium is not None
        for tab in self._tabs:
            tab.opening = max(0, tab.opening - 1)
        if len(self._tabs) >= TABS:
            self._note(f"another tab was refused: there are {TABS}")
            self._chromium.submit(close_quietly(page))
            return
        self._tabs.append(Tab(page, self._note, self.seconds))
        if len(self._tabs) > 1:
            self._note(f"tab {len(self._tabs)} was opened")

    async def _look(self) -> Content:
        tab = await self._living()
        try:
            self.seen, calm = await tab.look(self._how)
            if not calm:
                self._note("the page does not come to rest")
            picture = await tab.screenshot(self.marks) if self.screenshot else None
        except Dead:
            tab = await self._living()
            self.seen, picture = await tab.view(self._how), None
        lines = [f"({note})" for note in self._notes]
        self._notes = []
        if len(self._tabs) > 1:
            lines.append(f"(tab {self._at + 1} of {len(self._tabs)})")
        text = "\n".join([*lines, *self.seen.told(self.address, self.places)])
        if picture is None:
            return text
        return [{"type": "text", "text": text}, {"type": "image", "image": picture}]

    async def _living(self) -> Tab:
        """The tab in view, or an empty one in place of a dead one."""
        assert self._context is not None
        self._tabs = [tab for tab in self._tabs if tab.dead or not tab.page.is_closed()]
        self._at = min(self._at, len(self._tabs) - 1)
        if self._at < 0 or self._tab.dead:
            if self._at >= 0:
                gone = self._tabs.pop(self._at)
                self._note(str(gone.dead))
                await close_quietly(gone.page)
            if not self._tabs:
                await self._context.new_page()
            self._at = len(self._tabs) - 1
        return self._tab

    async def _evaluate(self, script: str, argument: Any) -> Any:
        try:
            async with asyncio.timeout(self.seconds):
                return await self._tab.page.evaluate(script, argument)
        except TimeoutError:
            raise RuntimeError("the page does not answer") from None

    async def _point(self, ref: int) -> tuple[float, float]:
        found = await self._tab.call("point", ref)
        if "x" in found:
            return found["x"], found["y"]
        if "covered" in found:
            raise ToolError(f"element {ref} is covered by {found['covered']}")
        raise ToolError(
            f"there is no element {ref} here" if "gone" in found else f"element {ref} is {next(iter(found))}"
        )

    async def _goto(self, url: str) -> None:
        if not self._allowed(url):
            raise ToolError(f"{url[:200]} cannot be reached from here")
        wrong = await self._tab.goto(url)
        if wrong:
            raise ToolError(f"{url[:200]} does not open: {wrong}")

    def _allowed(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        if parts.scheme == "file":
            return any(url.startswith(o) and ".." not in url for o in self.origins if o.startswith("file:"))
        return f"{parts.scheme}://{parts.netloc}" in self.origins


async def close_quietly(it: BrowserContext | Page) -> None:
    with contextlib.suppress(PlaywrightError, TimeoutError):
        async with asyncio.timeout(10):
            await it.close()
