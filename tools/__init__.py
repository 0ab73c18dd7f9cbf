"""Functions and sandboxes an environment offers to an agent."""

from agentrl.tools.tool import BadCall, Tool, ToolError, tool, tool_of

__all__ = ["BadCall", "Tool", "ToolError", "tool", "tool_of"]
