"""The tools of any server that speaks the Model Context Protocol, over a command's pipes or over HTTP.

    class Notes(ar.ToolEnv):
        notes = mcp("python", "notes_server.py")  # or mcp("http://localhost:8000/mcp")

Needs the extra ``mcp``: the official SDK speaks the protocol.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pydantic

from agentrl.errors import UserError
from agentrl.once import background_loop
from agentrl.tools.tool import MARK, BadCall, Terms, Tool, ToolError, Toolset
from agentrl.types import Content, Part

T = TypeVar("T")
PATIENCE = 60.0  # seconds that a server has to start
_LOOP_THREAD = "agentrl-mcp"


def mcp(*server: str, stateless: bool = False, seconds: float = 30.0) -> Toolset:
    """A Toolset with the tools that the server offers now: ``server`` is an address, or a program and its arguments.

    Every environment has a connection of its own, and with every episode a new one: a program is started anew. A
    ``stateless`` server is declared to keep nothing from call to call; then the connection stays, and episodes can
    branch. A call may take ``seconds``. Raises UserError where the server cannot be reached.
    """
    if not server:
        raise UserError('an MCP server is an address or a command, as mcp("python", "server.py")')
    connection = Connection(server)
    try:
        offered = connection.tools()
    finally:
        connection.close()
    methods = {f"tool_{i}": _method(tool, seconds) for i, tool in enumerate(offered)}
    level = "exact" if stateless else "none"
    made = type("MCPTools", (MCPTools,), {**methods, "snapshot_level": level, "__module__": __name__})
    return made(server, stateless)  # type: ignore[no-any-return]


class MCPTools(Toolset):
    """What :func:`mcp` gives, with a method for each tool of the server."""

    def __init__(self, server: tuple[str, ...], stateless: bool) -> None:
        self.server, self.stateless = server, stateless
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """Opened when it is first asked for."""
        if self._connection is None:
            self._connection = Connection(self.server)
        return self._connection

    def reset(self) -> None:
        if not (self.stateless and self._connection is not None and self._connection.alive):
            self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True, slots=True)
class RemoteTool(Tool):
    """A tool whose arguments are described, and checked, by a JSON schema of its server's."""

    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def schema(self) -> dict[str, Any]:
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}

    @property
    def arguments(self) -> list[str]:
        return [*self.parameters.get("properties", {})]

    def parse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        import jsonschema

        error = jsonschema.exceptions.best_match(
            jsonschema.Draft202012Validator(self.parameters).iter_errors(arguments)
        )
        if error is not None:
            where = ".".join(map(str, error.absolute_path))
            raise BadCall(f"argument {where!r}: {error.message[:200]}" if where else error.message[:200])
        return arguments


class Connection:
    """A session with a server. All of them live in one background loop, each in a task that opens and closes it."""

    def __init__(self, server: tuple[str, ...]) -> None:
        self.server = server
        self._calls: asyncio.Queue[Callable[[Any], Coroutine[Any, Any, None]] | None] = asyncio.Queue()
        ready: Future[None] = Future()
        self._task = asyncio.run_coroutine_threadsafe(self._live(ready), background_loop(_LOOP_THREAD))
        try:
            ready.result(PATIENCE)
        except UserError:
            raise
        except BaseException as error:
            self.close()
            raise UserError(f"no MCP server answers at {' '.join(server)!r}: {_cause(error)}") from None

    def tools(self) -> list[Any]:
        """What the server offers, as the SDK's ``Tool``, page by page."""

        async def listed(client: Any) -> list[Any]:
            found: list[Any] = []
            cursor: str | None = None
            while True:
                page = await client.list_tools(cursor=cursor)
                found += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    return found

        return self._ask(listed, PATIENCE)

    def call(self, name: str, arguments: dict[str, Any], seconds: float) -> Content:
        """What a tool gives, text and images. Raises ToolError where the server says that it failed, and
        ConnectionError where the server itself did, once and for all.
        """

        async def called(client: Any) -> Any:
            async with asyncio.timeout(seconds):
                return await client.call_tool(name, arguments)

        try:
            result = self._ask(called, seconds + PATIENCE)
        except TimeoutError:
            raise ToolError(f"{name} took longer than {seconds:g} s") from None
        except ConnectionError:
            raise
        except Exception as error:  # nothing is known of what it would do next
            self.close()
            raise ConnectionError(f"the MCP server {' '.join(self.server)!r} failed: {_cause(error)}") from error
        content = _content(result)
        if result.is_error:
            text = content if isinstance(content, str) else "the tool failed"
            raise ToolError(text[:500], f"error: {text}")
        return content

    @property
    def alive(self) -> bool:
        return not self._task.done()

    def close(self) -> None:
        """May be called twice."""
        if self.alive:
            background_loop(_LOOP_THREAD).call_soon_threadsafe(self._calls.put_nowait, None)
            try:
                self._task.result(PATIENCE)
            except BaseException:
                self._task.cancel()

    def _ask(self, question: Callable[[Any], Coroutine[Any, Any, T]], patience: float) -> T:
        answer: Future[T] = Future()

        async def asked(client: Any) -> None:
            try:
                answer.set_result(await question(client))
            except BaseException as error:
                answer.set_exception(error)

        if not self.alive:
            raise ConnectionError(f"the MCP server {' '.join(self.server)!r} has gone")
        background_loop(_LOOP_THREAD).call_soon_threadsafe(self._calls.put_nowait, asked)
        return answer.result(patience)

    async def _live(self, ready: Future[None]) -> None:
        try:
            with open(os.devnull, "w") as silence:
                async with _client(self.server, silence) as client:
                    ready.set_result(None)
                    while (call := await self._calls.get()) is not None:
                        await call(client)
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise


def _client(server: tuple[str, ...], errors: Any) -> Any:
    try:
        import mcp as sdk
        from mcp.client.stdio import stdio_client
    except ImportError as error:
        raise UserError(f"{error}; to mend it: pip install 'agentrl-toolkit[mcp]'") from None
    if server[0].startswith(("http://", "https://")):
        return sdk.Client(server[0])
    return sdk.Client(stdio_client(sdk.StdioServerParameters(command=server[0], args=[*server[1:]]), errors))


def _method(offered: Any, seconds: float) -> Callable[..., Content]:
    def method(self: MCPTools, /, **arguments: Any) -> Content:
        return self.connection.call(offered.name, arguments, seconds)

    parameters = {"type": "object", "properties": {}, **offered.input_schema}
    made = RemoteTool(
        offered.name, offered.description or "", method, pydantic.BaseModel, Terms(), parameters=parameters
    )
    setattr(method, MARK, made)
    return method


def _content(result: Any) -> Content:
    parts: list[Part] = []
    for block in result.content:
        if block.type == "text":
            parts.append({"type": "text", "text": block.text})
        elif block.type == "image":
            parts.append({"type": "image", "image": f"data:{block.mime_type};base64,{block.data}"})
        else:
            parts.append({"type": "text", "text": f"[{block.type}]"})
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _cause(error: BaseException) -> str:
    """The innermost of a group of errors, in one line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
