"""Chromium for agents: :class:`Browser`, and what it is made of."""

from agentrl.tools.browser.browser import Browser
from agentrl.tools.browser.view import Element, View
from agentrl.tools.browser.window import Window

__all__ = ["Browser", "Element", "View", "Window"]
