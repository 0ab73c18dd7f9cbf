"""The package's pages over HTTP, for those with a frame that they must read: between two files Chromium allows none."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler

from agentrl.envs.pages import PageServer
from agentrl.once import once_a_process


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:
        pass  # the terminal is the user's


@once_a_process
def served(folder: str) -> str:
    """The origin under which a folder is served, by this process, on a free port."""
    return PageServer(functools.partial(_Handler, directory=folder), "agentrl-miniwob").origin
