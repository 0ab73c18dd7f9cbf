"""What a person watches while a run goes on: a live panel in a terminal, a line an iteration elsewhere."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agentrl.trainers.progress import Observer
from agentrl.types import Trajectory

_BARS = " ▁▂▃▄▅▆▇█"


class Dashboard(Observer):
    """Use it as a context manager."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._live = (
            Live(console=self.console, refresh_per_second=4, transient=True) if self.console.is_terminal else None
        )
        self._phase, self._total, self._done, self._wins = "start", 0, 0, 0
        self._began = self._first = time.perf_counter()
        self._seen = 0
        self._status = ""
        self._metrics: dict[str, Any] = {}
        self._success: list[float] = []

    def __enter__(self) -> Dashboard:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def note(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)

    def status(self, line: str) -> None:
        self._status = line
        if self._live is None:
            self.note(line)
        self._show()

    def phase(self, name: str, total: int) -> None:
        self._phase, self._total, self._done, self._wins, self._status = name, total, 0, 0, ""
        self._began = time.perf_counter()
        self._show()

    def episode(self, trajectory: Trajectory) -> None:
        self._done += 1
        self._wins += trajectory.success
        self._show()

    def iteration(self, metrics: dict[str, Any], total: int) -> None:
        if not self._success:
            self._first = time.perf_counter() - metrics["seconds"]
        self._seen += 1
        self._metrics = metrics | {"of": total}
        self._success.append(metrics["success"])
        if self._live is None:
            self.note(self._line(metrics, total))
        self._show()

    def _line(self, m: dict[str, Any], total: int) -> str:
        branches = m.get("branches", {})
        branched = f"branches {branches['count']} ({branches['share']:.0%})  " if branches.get("count") else ""
        failures = f"  failed {m['failures']}" if m["failures"] else ""
        return (
            f"iteration {m['iteration'] + 1}/{total}  success {m['success']:.1%}  return {m['return']:.2f}  "
            f"turns {m['turns']:.1f}  {branched}invalid {m['invalid_share']:.0%}  "
            f"{m['tokens_per_second']:.0f} tokens/s  "
            f"{m['seconds']:.1f} s  gap {m['update'].get('logprob_gap', 0):.1e}  eta {self._eta(m, total)}{failures}"
        )

    def _eta(self, m: dict[str, Any], total: int) -> str:
        left = (time.perf_counter() - self._first) / self._seen * (total - m["iteration"] - 1)
        return f"{int(left // 60)}:{int(left % 60):02d}"

    def _show(self) -> None:
        if self._live is None:
            return
        self._live.update(Panel(Group(*self._body()), title="agentrl", border_style="cyan"))

    def _body(self) -> list[Any]:
        status = Text(f"{self._phase}  ", style="bold")
        if self._total:
            rate = self._wins / self._done if self._done else 0.0
            status.append(f"{self._done}/{self._total} episodes, {rate:.0%} successful", style="dim")
        rows: list[Any] = [status]
        if self._total:
            rows.append(ProgressBar(total=self._total, completed=self._done, width=60))
        if self._status:
            rows.append(Text(self._status, style="dim"))
        m = self._metrics
        if not m:
            return rows
        rows.append(ProgressBar(total=m["of"], completed=m["iteration"] + 1, width=60, complete_style="green"))
        rows.append(Text(self._line(m, m["of"])))
        rows.append(Text("success  " + "".join(_BARS[round(s * 8)] for s in self._success[-60:]), style="green"))
        table = Table.grid(padding=(0, 2))
        for kind, success in m["success_by_type"].items():
            table.add_row(kind, f"{success:.0%}", ProgressBar(total=1, completed=success, width=24))
        rows.append(table)
        times = "  ".join(f"{name} {seconds:.2f} s" for name, seconds in m["time"].items())
        rows.append(Text(f"last iteration: {times}", style="dim"))
        return rows
