"""The live page: a server on this machine's own address, for whoever knows the token."""

from __future__ import annotations

import hmac
import json
import secrets
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agentrl.errors import UserError
from agentrl.viewer.group import group
from agentrl.viewer.overview import overview, version
from agentrl.viewer.page import page
from agentrl.viewer.tokens import Pieces


class Viewer(ThreadingHTTPServer):
    """Serves ``runs`` on 127.0.0.1. Every request must bear the token: the page in its address, the page's own
    requests in a header that no other site's page can send; and name this very address, so that no other name can be
    made to lead here.
    """

    daemon_threads = True

    def __init__(self, runs: list[Path], port: int = 0) -> None:
        self.runs = runs
        self.token = secrets.token_urlsafe(24)
        self.pieces: dict[int, Pieces] = {}
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def answer(self, path: str, query: dict[str, str]) -> Any:
        """The data of a request. Raises UserError for what is not there, KeyError and ValueError for nonsense."""
        if path == "/api/runs":
            known = query.get("have", "").split(",")
            now = [version(run) for run in self.runs]
            return {"runs": None} if known == now else {"runs": [overview(run) for run in self.runs]}
        if path == "/api/group":
            number = int(query["run"])
            if not 0 <= number < len(self.runs):
                raise UserError(f"there is no run {number}")
            run = self.runs[number]
            if number not in self.pieces:
                self.pieces[number] = Pieces.of(run)
            return group(run, query["id"], self.pieces[number])
        raise KeyError(path)


class _Handler(BaseHTTPRequestHandler):
    server: Viewer

    def do_GET(self) -> None:
        at = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(at.query).items()}
        hosts = [f"{name}:{self.server.server_port}" for name in ("127.0.0.1", "localhost")]
        if self.headers.get("Host") not in hosts:
            return self._send(403, "text/plain", "this address is not known by that name")
        shown = query.get("token", "") if at.path == "/" else self.headers.get("X-Token", "")
        if not hmac.compare_digest(shown.encode(), self.server.token.encode()):
            return self._send(403, "text/plain", "the token is missing: open the address that agentrl view printed")
        if at.path == "/":
            return self._send(200, "text/html", page())
        try:
            self._send(200, "application/json", json.dumps(self.server.answer(at.path, query), allow_nan=False))
        except UserError as error:
            self._send(404, "application/json", json.dumps({"error": str(error)}))
        except (KeyError, ValueError):
            self._send(404, "application/json", json.dumps({"error": f"nothing at {at.path}"}))

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("X-Frame-Options", "DENY"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal is the user's."""
