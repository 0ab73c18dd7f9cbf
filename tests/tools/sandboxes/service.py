"""A stand-in for the E2B service: the routes that its SDK uses, over machines that are local sandboxes."""

from __future__ import annotations

import ast
import contextlib
import json
import threading
from collections.abc import Iterator
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from agentrl.tools.sandboxes import Limits, SandboxError
from agentrl.tools.sandboxes.local import Local

KEY = "e2b_" + "0" * 40
LIMITS = Limits(wall=60.0, cpu=60.0)


class Service(ThreadingHTTPServer):
    """``machines`` maps ids to a session a context; ``asked`` is every request as (method, path)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.machines: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.created: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def handle_error(self, *_: Any) -> None:
        """A client that no longer waits is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def handle_one(self) -> None:
        url = urlsplit(self.path)
        parts, query = url.path.strip("/").split("/"), parse_qs(url.query)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.asked.append((self.command, url.path))
        machine = self.server.machines.get(self.headers.get("E2b-Sandbox-Id", ""))
        match self.command, parts:
            case "POST", ["v2", "sandboxes"] | ["sandboxes"]:
                if self.headers["X-API-KEY"] != KEY:
                    return self.answer(401, {"code": 401, "message": "Invalid API key"})
                name = f"machine{len(self.server.created)}"
                self.server.created.append(json.loads(body))
                self.server.machines[name] = {}
                made = {"templateID": "code-interpreter-v1", "sandboxID": name, "clientID": "c", "envdVersion": "0.5.0"}
                return self.answer(201, {**made, "envdAccessToken": "token", "domain": None})
            case "POST", ["sandboxes", name, "timeout"]:
                return self.answer(204 if name in self.server.machines else 404)
            case "DELETE", ["sandboxes", name]:
                sessions = self.server.machines.pop(name, None)
                for session in (sessions or {}).values():
                    session.close()
                return self.answer(204 if sessions is not None else 404)
        if machine is None:
            return self.answer(502, {"message": "The sandbox was not found", "code": 502})
        match self.command, parts:
            case "GET", ["health"]:
                return self.answer(204)
            case "POST", ["contexts"]:
                name = f"context{len(machine)}"
                machine[name] = Local().open(LIMITS)
                return self.answer(201, {"id": name, "language": "python", "cwd": "/home/user"})
            case "POST", ["contexts", name, "restart"]:
                machine[name].close()
                machine[name] = Local().open(LIMITS)
                return self.answer(204)
            case "POST", ["execute"]:
                return self.execute(machine, json.loads(body))
            case "POST", ["files"]:
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                (part,) = BytesParser().parsebytes(head + body).get_payload()
                path = (query.get("path") or [part.get_filename()])[0]
                self.first(machine).write(path, part.get_payload(decode=True))
                return self.answer(
                    200, [{"name": path.rpartition("/")[2], "path": f"/home/user/{path}", "type": "file"}]
                )
            case "GET", ["files"]:
                try:
                    return self.answer(200, self.first(machine).read(query["path"][0]))
                except SandboxError as error:
                    return self.answer(404, {"code": 404, "message": str(error)})
        return self.answer(404, {"message": f"no route {self.command} {self.path}"})

    do_GET = do_POST = do_DELETE = handle_one

    def execute(self, machine: dict[str, Any], asked: dict[str, Any]) -> None:
        code, last = asked["code"], None
        with contextlib.suppress(SyntaxError):
            tree = ast.parse(code)
            if tree.body and isinstance(tree.body[-1], ast.Expr):
                last = ast.unparse(tree.body.pop())
                code = ast.unparse(tree)
        session = machine[asked["context_id"]]
        run, lines = session.run(code), []
        result = session.run(last) if last is not None and run.error is None else None
        if run.output and run.error is None:
            lines.append({"type": "stdout", "text": run.output, "timestamp": 0})
        failed = next((r for r in (run, result) if r is not None and r.error is not None), None)
        if failed is not None:
            name, _, value = failed.error.partition(": ")
            trace = f"\x1b[0;31m{failed.output}\x1b[0m"
            lines.append({"type": "error", "name": name, "value": value, "traceback": trace})
        elif result is not None and result.output:
            lines.append({"type": "result", "text": result.output.rstrip("\n"), "is_main_result": True})
        lines.append({"type": "number_of_executions", "execution_count": 1})
        self.answer(200, "".join(json.dumps(line) + "\n" for line in lines).encode())

    def first(self, machine: dict[str, Any]) -> Any:
        return next(iter(machine.values()))

    def answer(self, status: int, value: Any = None) -> None:
        if status == 404 and value is None:
            value = {"code": 404, "message": "not found"}
        data = b"" if value is None else value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream" if isinstance(value, bytes) else "application/json")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def service() -> Iterator[Service]:
    with Service() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
            for machine in server.machines.values():
                for session in machine.values():
                    session.close()
