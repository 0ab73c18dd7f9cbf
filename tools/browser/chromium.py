"""One Chromium a process, whatever event loops ask for it: it lives in a thread with a loop of its own.

It is Playwright's own where that is installed, else Debian's (``chromium``); ``AGENTRL_CHROMIUM`` names another. It
ends with the process: Playwright's driver notices that its pipe is closed, and takes the browser along.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import shutil
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import Browser as PlaywrightBrowser
from playwright.async_api import BrowserContext, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from agentrl.errors import UserError
from agentrl.once import background_loop, once_a_process

T = TypeVar("T")

_QUIET = (
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    "--disable-gpu", "--disable-quic", "--disable-domain-reliability", "--no-pings", "--mute-audio",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp", "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--host-resolver-rules=MAP nowhere.invalid ~NOTFOUND",
    "--enable-blink-features=ComputedAccessibilityInfo",  # roles and names as the accessibility tree has them
)  # fmt: skip
_NOWHERE = "http://nowhere.invalid:80"  # the proxy that stands for every origin that is not allowed


class Chromium:
    """A browser that is started when it is first needed, and again after it crashed."""

    def __init__(self) -> None:
        self._loop = background_loop("agentrl-chromium")
        self._playwright: Playwright | None = None
        self._browser: PlaywrightBrowser | None = None
        self._starting: asyncio.Lock = asyncio.Lock()
        # Opening takes a core for a while; of many at once each would run into its limit of time.
        self.opening = asyncio.Semaphore(2 * (os.cpu_count() or 1))

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine of the browser's loop from any other; cancelling one cancels the other."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    def submit(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Start a coroutine in the browser's loop, and let it be."""
        asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def context(self, origins: Iterable[str], **options: Any) -> BrowserContext:
        """A context of its own (cookies, storage, tabs) that reaches these origins and no others.

        Everything else goes to a proxy that does not exist, so redirects, sockets and workers are covered too.
        """
        browser = await self._started()
        bypass = ",".join(["<-loopback>", *(urlsplit(origin).netloc for origin in origins)]).rstrip(",")
        return await browser.new_context(
            proxy={"server": _NOWHERE, "bypass": bypass},
            service_workers="block",
            accept_downloads=False,
            **options,
        )

    async def end(self) -> None:
        if self._browser is not None:
            await self._browser.close()
        if self._playwright is not None:
            await self._playwright.stop()
        self._browser = self._playwright = None

    def close(self) -> None:
        """End the browser; waits at most ten seconds."""
        if self._playwright is not None and self._loop.is_running():
            future = asyncio.run_coroutine_threadsafe(self.end(), self._loop)
            try:
                future.result(10)
            except Exception:  # the process ends anyway, and the driver with it
                future.cancel()

    async def _started(self) -> PlaywrightBrowser:
        async with self._starting:
            if self._browser is None or not self._browser.is_connected():
                if self._playwright is None:
                    self._playwright = await async_playwright().start()
                path = executable(self._playwright)
                try:
                    self._browser = await self._playwright.chromium.launch(
                        executable_path=path,
                        chromium_sandbox=os.geteuid() != 0,  # Chromium refuses its own sandbox to root
                        args=list(_QUIET),
                        handle_sigint=False,
                        handle_sigterm=False,
                        handle_sighup=False,
                    )
                except PlaywrightError as error:
                    raise UserError(
                        f"Chromium ({path}) does not start: {str(error).strip().splitlines()[0]}"
                    ) from error
            return self._browser


def require() -> None:
    """Raises UserError, with what to install, where there is no Chromium. Not for within an event loop."""

    async def look() -> None:
        async with async_playwright() as playwright:
            executable(playwright)

    asyncio.run(look())


def executable(playwright: Playwright) -> str:
    """The path of a Chromium. Raises UserError where there is none."""
    named = os.environ.get("AGENTRL_CHROMIUM")
    found = (named, playwright.chromium.executable_path, *map(shutil.which, ("chromium", "chromium-browser")))
    for path in found[:1] if named else found:
        if path and Path(path).is_file():
            return path
    if named:
        raise UserError(f"AGENTRL_CHROMIUM names {named}, which is no file")
    raise UserError("no Chromium found; to mend it: apt-get install chromium, or playwright install chromium")


@once_a_process
def shared() -> Chromium:
    """The Chromium of this process."""
    chromium = Chromium()
    atexit.register(chromium.close)
    return chromium
