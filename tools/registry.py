"""The bundled tools by name; none is imported before it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from agentrl.errors import unknown

TOOLS = {
    "calculator": "agentrl.tools.calculator:calculator",
    "python": "agentrl.tools.python:Python",
}


def home_of(name: str) -> Any:
    """The function, or the Toolset class, that brings a tool. Raises UserError for an unknown name."""
    if name not in TOOLS:
        raise unknown("tool", name, TOOLS)
    module, _, attribute = TOOLS[name].partition(":")
    return getattr(import_module(module), attribute)
