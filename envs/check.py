"""``check(name)``: whether an environment keeps the contract that training and evaluation rely on."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from agentrl.envs import contract, registry
from agentrl.envs.core import Env
from agentrl.envs.trial import Broken, Skipped, Subject
from agentrl.errors import UserError

_MARKS = {"pass": "[green]pass[/]", "fail": "[red bold]FAIL[/]", "skip": "[yellow]skip[/]"}


@dataclass(frozen=True, slots=True)
class Check:
    """One clause of the contract and how it went."""

    name: str
    status: Literal["pass", "fail", "skip"]
    why: str


@dataclass(frozen=True)
class Report:
    """What :func:`check` found. ``print(report)`` shows a table."""

    env: str
    checks: list[Check]
    seconds: float

    @property
    def failures(self) -> list[Check]:
        return [check for check in self.checks if check.status == "fail"]

    @property
    def ok(self) -> bool:
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        return {"env": self.env, "ok": self.ok, "seconds": self.seconds, "checks": [asdict(c) for c in self.checks]}

    def __rich__(self) -> Table:
        verdict = "keeps the contract" if self.ok else f"{len(self.failures)} of {len(self.checks)} checks failed"
        table = Table(title=f"{self.env}: {verdict} ({self.seconds:.1f} s)", title_justify="left", box=None)
        for heading in ("check", "", "why"):
            table.add_column(heading, overflow="fold")
        for check in self.checks:
            table.add_row(check.name, _MARKS[check.status], check.why.replace("[", r"\["))
        return table

    def __str__(self) -> str:
        console = Console(width=120, no_color=True)
        with console.capture() as capture:
            console.print(self)
        return capture.get()

    __repr__ = __str__


def check(env: str | Env | type[Env], *, episodes: int = 20, **kwargs: Any) -> Report:
    """Play ``episodes`` episodes of each kind and judge every clause; ``kwargs`` go to the environment.

    Takes a name (``guess.py:Guess-v0``), or a registered class or an instance of it.
    """
    name = env if isinstance(env, str) else _name_of(env if isinstance(env, type) else type(env))
    begin = time.perf_counter()
    spec = registry.resolve(name).spec
    subject = Subject(spec, kwargs, episodes)
    checks: list[Check] = []
    for clause in contract.CLAUSES:
        broken = next((c.name for c in checks if c.status == "fail" and c.name in contract.NEEDED), None)
        checks.append(Check(clause.__name__, "skip", f"{broken} fails") if broken else _judge(clause, subject))
    return Report(spec.id, checks, round(time.perf_counter() - begin, 3))


def _judge(clause: contract.Clause, subject: Subject) -> Check:
    name = clause.__name__
    try:
        return Check(name, "pass", clause(subject))
    except Broken as broken:
        return Check(name, "fail", str(broken))
    except Skipped as skipped:
        return Check(name, "skip", str(skipped))
    except UserError as error:
        return Check(name, "fail", str(error))
    except Exception as error:
        return Check(name, "fail", contract.raised(error))


def _name_of(cls: type[Env]) -> str:
    spec = registry.spec_of(cls)
    if spec is None:
        raise UserError(f"{cls.__name__} is not registered: put @ar.register(...) above it, or give check() a name")
    return spec.id
