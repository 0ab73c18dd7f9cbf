"""A tab: one page, looked at from an isolated world, and waited for until it is still."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from importlib import resources
from typing import Any, TypeVar

from playwright.async_api import CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from agentrl.tools.browser.view import View, view_of

T = TypeVar("T")

STILL, MOST = 25, 1_500  # milliseconds without change that count as still; the most that is waited for it
LOOKS = 3  # while requests come and go
_SOURCE = (resources.files("agentrl") / "tools" / "browser" / "view.js").read_text("utf-8")
_WORLD = "agentrl"
_WAITED_FOR = frozenset({"Document", "Script", "Stylesheet", "XHR", "Fetch"})


class Dead(Exception):
    """The page crashed or does not answer; the message says which."""


class Tab:
    """``note`` is told what the agent should know of: dialogs, refused downloads.

    ``seconds``: how long it may take to answer, before it is taken for dead; half of it, how long it may load.
    """

    def __init__(self, page: Page, note: Callable[[str], None], seconds: float) -> None:
        self.page, self.seconds = page, seconds
        self.opening = 0  # tabs that this one has opened and that are not there yet
        self._death: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._session: CDPSession | None = None
        self._world: int | None = None
        self._frame: str | None = None
        self._arrived = False  # at a page that nobody has touched yet
        self._pending: set[str] = set()
        self._loaded = asyncio.Event()  # nothing is pending
        self._loaded.set()
        self._asked = 0  # requests so far
        self._note = note
        page.on("crash", lambda _: self.die("the page crashed"))
        page.on("dialog", self._answer)
        page.on("download", lambda download: note(f"a download was refused: {download.suggested_filename[:80]}"))

    @property
    def dead(self) -> str | None:
        """What it died of."""
        return self._death.result() if self._death.done() else None

    async def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of ``view.js``, again where a navigation came in between. Raises :class:`Dead`."""
        for attempt in range(5):
            try:
                return await self._alive(self._call(function, arguments))
            except PlaywrightError as error:
                self._world = None
                if self.page.is_closed() or attempt == 4:
                    self.die(f"the page is gone: {str(error).splitlines()[0][:200]}")
                await asyncio.sleep(0.02 * attempt)
        raise Dead(self.dead)

    async def goto(self, url: str) -> str | None:
        """Begin to load an address; what went wrong, if it did."""
        try:
            async with asyncio.timeout(self.seconds / 2):
                answer = await self._alive(self._send("Page.navigate", url=url))
        except TimeoutError:
            await self._alive(self._send("Page.stopLoading"))
            return "it takes too long"
        self._arrived = True
        return str(answer.get("errorText", "")).removeprefix("net::") or None

    async def back(self) -> bool:
        """Begin to load the page before; False where there is none. The empty page that tabs begin with is none."""
        history = await self._alive(self._send("Page.getNavigationHistory"))
        before = history["entries"][: history["currentIndex"]]
        if not before or before[-1]["url"] == "about:blank":
            return False
        await self._alive(self._send("Page.navigateToHistoryEntry", entryId=before[-1]["id"]))
        return True

    async def view(self, how: dict[str, Any]) -> View:
        """What there is to see now. ``how``: ``root``, ``skip`` and ``leaves`` of a window."""
        return view_of(await self.call("view", how))

    async def look(self, how: dict[str, Any]) -> tuple[View, bool]:
        """The view once nothing loads and nothing changes; False where that takes too long."""
        end, looks = asyncio.get_running_loop().time() + self.seconds / 2, 0
        arrived, self._arrived = self._arrived, False
        while await self._loads_until(end):
            before = self._asked
            seen = await self.call("look", STILL, MOST, how, looks > 0, arrived)
            looks += 1
            # What came while it looked may show only now; who asks again and again is not waited for.
            if (self._asked == before or looks >= LOOKS) and self._loaded.is_set() and not self.opening:
                return view_of(seen), seen["calm"]
        await self.call("stop")
        self._pending.clear()
        self._loaded.set()
        self.opening = 0
        return await self.view(how), False

    async def leave(self) -> None:
        """An empty page. The one before may not run what it keeps for its end: it could store something."""
        await self._alive(self._send("Emulation.setScriptExecutionDisabled", value=True))
        await self.call("empty")
        await self.goto("about:blank")
        await self._alive(self._send("Emulation.setScriptExecutionDisabled", value=False))

    async def clear(self, origin: str) -> None:
        """Drop what an origin has stored."""
        await self._alive(self._send("Storage.clearDataForOrigin", origin=origin, storageTypes="all"))

    async def forget(self) -> None:
        """Make the page in view the first of its tab."""
        await self._alive(self._send("Page.resetNavigationHistory"))

    async def screenshot(self, marks: bool) -> str:
        """The window as a data URL; ``marks``: with the numbers of its elements on it."""
        if marks:
            await self.call("mark")
        try:
            png = await self._alive(self.page.screenshot(animations="disabled", caret="hide", timeout=0))
        finally:
            if marks and not self.dead:
                await self.call("unmark")
        return "data:image/png;base64," + base64.b64encode(png).decode()

    def die(self, why: str) -> None:
        if not self._death.done():
            self._death.set_result(why)

    async def _alive(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` gives, unless the page dies or does not answer."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._death}
            await asyncio.wait(either, timeout=self.seconds, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                self.die("the page did not answer and was closed")
            if self.dead:
                raise Dead(self.dead)
            return task.result()
        finally:
            if task.done() and not task.cancelled():
                task.exception()  # seen, so that nobody complains
            task.cancel()

    async def _call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        if self._world is None:  # the page has been there before us, or is just coming
            made = await self._send("Page.createIsolatedWorld", frameId=await self._main(), worldName=_WORLD)
            self._world = made["executionContextId"]
            await self._send("Runtime.evaluate", expression=_SOURCE, contextId=self._world)
        answer = await self._send(
            "Runtime.callFunctionOn",
            functionDeclaration=f"(...a) => agentrl.{function}(...a)",
            arguments=[{"value": argument} for argument in arguments],
            executionContextId=self._world,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in answer:
            raise PlaywrightError(str(answer["exceptionDetails"].get("exception", {}).get("description", "it raised")))
        return answer["result"].get("value")

    async def _loads_until(self, end: float) -> bool:
        """Wait until nothing loads; False where that takes longer than to ``end``, in the loop's time."""
        try:
            async with asyncio.timeout_at(end):
                await self._alive(self._loaded.wait())
        except TimeoutError:
            return False
        return True

    async def _main(self) -> str:
        """The frame of the page itself."""
        if self._frame is None:
            tree = await self._send("Page.getFrameTree")
            self._frame = tree["frameTree"]["frame"]["id"]
        return self._frame

    async def _send(self, method: str, **parameters: Any) -> Any:
        if self._session is None:
            self._session = await self.page.context.new_cdp_session(self.page)
            self._session.on("Page.windowOpen", self._opens)
            # Not Playwright's own events of requests: it keeps an object for each.
            self._session.on("Network.requestWillBeSent", self._requested)
            self._session.on("Network.loadingFinished", self._over)
            self._session.on("Network.loadingFailed", self._over)
            self._session.on("Runtime.executionContextCreated", self._entered)
            self._session.on("Runtime.executionContextsCleared", self._left)
            await self._session.send("Page.enable")
            await self._session.send("Runtime.enable")
            # Without it Chromium builds the whole accessibility tree anew for every role and name that is asked for.
            await self._session.send("Accessibility.enable")
            # Every page to come has the isolated world, and what looks at it, from its beginning.
            script = {"source": _SOURCE, "worldName": _WORLD}
            await self._session.send("Page.addScriptToEvaluateOnNewDocument", script)
            await self._session.send("Network.enable", {"maxTotalBufferSize": 1, "maxResourceBufferSize": 1})
        return await self._session.send(method, parameters)

    async def _answer(self, dialog: Any) -> None:
        try:
            if dialog.type == "prompt":
                await dialog.dismiss()
            else:
                await dialog.accept()
            if dialog.type != "beforeunload":
                done = "dismissed" if dialog.type == "prompt" else "accepted"
                self._note(f"a dialog was {done}: {dialog.message[:200]!r}")
        except PlaywrightError:
            pass  # it went with its page

    def _entered(self, event: dict[str, Any]) -> None:
        context = event["context"]
        if context["name"] == _WORLD and context["auxData"]["frameId"] == self._frame:
            self._world = context["id"]

    def _left(self, _: object) -> None:
        self._world = None

    def _opens(self, _: object) -> None:
        self.opening += 1

    def _requested(self, event: dict[str, Any]) -> None:
        if event.get("type") in _WAITED_FOR:
            self._pending.add(event["requestId"])
            self._loaded.clear()
            self._asked += 1

    def _over(self, event: dict[str, Any]) -> None:
        self._pending.discard(event["requestId"])
        if not self._pending:
            self._loaded.set()
