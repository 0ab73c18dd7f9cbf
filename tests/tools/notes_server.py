"""A real MCP server, for tests: notes that it keeps as long as it runs. As a program it speaks over its pipes."""

import asyncio
import base64
import os

from mcp.server.mcpserver import Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("notes")
notes: list[str] = []


@server.tool()
def keep(text: str, times: int = 1) -> str:
    """Keep a note."""
    notes.extend([text] * times)
    return f"{len(notes)} kept"


@server.tool()
async def read(number: int) -> str:
    """Read a note by its number, from 1."""
    if not 1 <= number <= len(notes):
        raise ToolError(f"there is no note {number}")
    return notes[number - 1]


@server.tool()
def picture() -> Image:
    """A picture of one pixel."""
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return Image(data=base64.b64decode(pixel), format="png")


@server.tool()
async def sleep(seconds: float) -> str:
    """Sleep."""
    await asyncio.sleep(seconds)
    return "awake"


@server.tool()
def leave() -> str:
    """End the program."""
    os._exit(1)


if __name__ == "__main__":
    server.run()
