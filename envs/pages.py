"""What the web sites of environments answer with."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


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
