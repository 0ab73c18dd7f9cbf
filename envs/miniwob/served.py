"""The package's pages over HTTP, for those with a frame that they must read: between two files Chromium allows none."""

from __future__ import annotations

import functools
import os
from http.server import SimpleHTTPRequestHandler

from agentrl.envs.pages import PageServer


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass  # the terminal is the user's


def served(folder: str) -> str:
    """The origin under which a folder is served, by this process, on a free port."""
    return _origin(folder, os.getpid())


@functools.cache
def _origin(folder: str, _process: int) -> str:
    return PageServer(functools.partial(_Handler, directory=folder), "agentrl-miniwob").origin
