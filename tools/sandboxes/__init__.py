"""Where code that nobody has read may run: one protocol, several ways to confine it."""

from __future__ import annotations

from importlib import import_module

from agentrl.errors import UserError, unknown
from agentrl.tools.sandboxes.base import Limits, Run, Sandbox, SandboxError, Session

__all__ = ["SANDBOXES", "Limits", "Run", "Sandbox", "SandboxError", "Session", "sandbox_named"]

# name -> what makes it, and the extra that brings its dependencies
SANDBOXES = {
    "local": ("agentrl.tools.sandboxes.local:Local", None),
    "docker": ("agentrl.tools.sandboxes.docker:Docker", "docker"),
    "e2b": ("agentrl.tools.sandboxes.e2b:E2B", "e2b"),
    "unconfined": ("agentrl.tools.sandboxes.local:unconfined", None),
}


def sandbox_named(name: str) -> Sandbox:
    """Raises UserError for an unknown name, or where what it needs is not installed."""
    if name not in SANDBOXES:
        raise unknown("sandbox", name, SANDBOXES)
    target, extra = SANDBOXES[name]
    module, _, maker = target.partition(":")
    try:
        made: Sandbox = getattr(import_module(module), maker)()
    except ImportError as error:
        raise UserError(f"sandbox {name!r}: {error}; to mend it: pip install 'agentrl-toolkit[{extra}]'") from error
    return made
