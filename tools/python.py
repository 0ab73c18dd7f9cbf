"""The code tool: ``python``, a session in a sandbox that keeps its variables."""

from __future__ import annotations

from typing import Any

from agentrl.errors import unknown
from agentrl.tools.sandboxes import SANDBOXES
from agentrl.tools.sandboxes.base import Limits, Run, Session
from agentrl.tools.sandboxes.pool import shared
from agentrl.tools.tool import ToolError, Toolset, tool

_RESTARTED = "[the session was restarted: variables are gone]"


class Python(Toolset):
    """One fresh session an episode, taken from the warm pool when it is first used.

    ``sandbox`` is a name in :data:`agentrl.tools.sandboxes.SANDBOXES`. The same code gives the same output only where
    it asks neither the clock nor an unseeded generator, so a state is brought back by running everything again.
    """

    snapshot_level = "replay"

    def __init__(self, sandbox: str = "local", limits: Limits = Limits()) -> None:
        if sandbox not in SANDBOXES:
            raise unknown("sandbox", sandbox, SANDBOXES)
        self.sandbox, self.limits = sandbox, limits
        self._session: Session | None = None
        self._files: dict[str, bytes] = {}

    def reset(self) -> None:
        self.close()
        self._files = {}

    def put(self, path: str, data: bytes) -> None:
        """A file that is in the session's folder when code first runs."""
        self._files[path] = data

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    @property
    def session(self) -> Session:
        """The sandbox session; it is taken when this is first asked for."""
        if self._session is None:
            self._session = shared(self.sandbox, self.limits).take()
            for path, data in self._files.items():
                self._session.write(path, data)
        return self._session

    @tool(max_chars=80_000)
    def python(self, code: str) -> str:
        """Run Python code in a session that keeps its variables, and read what it prints.

        The value of a last expression is printed. There is no network; files are kept in the current folder.
        """
        run = self.session.run(code)
        text = self._told(run)
        if run.error is not None or run.stopped is not None or run.restarted:
            raise ToolError(f"stopped at the {run.stopped} limit" if run.stopped else run.error or "it ended", text)
        return text

    def _told(self, run: Run) -> str:
        notes: list[Any] = [run.output.rstrip("\n")]
        if run.stopped is not None:
            notes.append(f"[stopped: over the limit of {_limit(run.stopped, self.limits)}]")
        if run.restarted:
            notes.append(_RESTARTED)
        return "\n".join(note for note in notes if note) or "(no output)"


def _limit(name: str, limits: Limits) -> str:
    return {
        "wall": f"{limits.wall:g} s",
        "cpu": f"{limits.cpu:g} s of processor time",
        "memory": f"{limits.memory >> 20} MB of memory",
        "disk": f"{limits.disk >> 20} MB or 16,384 files on disk",
    }.get(name, name)
