"""Functions and sandboxes an environment offers to an agent."""

from agentrl.tools.tool import BadCall, Price, Tool, ToolError, Toolset, tool, tool_of

__all__ = ["BadCall", "Price", "Tool", "ToolError", "Toolset", "tool", "tool_of"]
