"""A desktop for agents: :class:`Desktop`, with real applications on a display of its own."""

from agentrl.tools.desktop.desktop import Desktop
from agentrl.tools.desktop.view import Element, View

__all__ = ["Desktop", "Element", "View"]
