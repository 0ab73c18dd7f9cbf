"""What a process makes once, when it is first asked for. A forked child makes its own: it inherits no threads."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


def once_a_process(make: Callable[..., T]) -> Callable[..., T]:
    """The function, called once for the same arguments in each process, by one thread while the others wait for it."""
    kept = functools.cache(lambda _process, *given: make(*given))
    lock = threading.Lock()

    @functools.wraps(make)
    def one(*given: Hashable) -> T:
        with lock:
            return kept(os.getpid(), *given)

    return one


@once_a_process
def background_loop(name: str) -> asyncio.AbstractEventLoop:
    """An event loop that runs in a thread of this name."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
    return loop
