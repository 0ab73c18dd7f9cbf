"""The web sites of environments: a server in this process, and what it answers with."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class PageServer(ThreadingHTTPServer):
    """A server on a free port of this machine that nothing else reaches, in a thread of that ``name``."""

    daemon_threads = True

    def __init__(self, handler: Any, name: str) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        threading.Thread(target=self.serve_forever, args=(0.05,), name=name, daemon=True).start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a browser that leaves a page is none
            super().handle_error(request, client_address)


class PageHandler(BaseHTTPRequestHandler):
    """Sends pages and redirects, and logs nothing: the terminal is the user's."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body that waits for the head's acknowledgement comes 40 ms late

    def answer(self, status: int, text: str, location: str | None = None) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass
