"""Names for task sources, budgets and branchers, loaded when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, TypeVar

from agentrl.errors import UserError, unknown
from agentrl.trainers.catalogue import homes
from agentrl.trainers.options import Spec, made, read
from agentrl.trainers.sampling.base import Method

Kind = Literal["source", "budget", "brancher", "filter", "replay"]
M = TypeVar("M", bound=type[Method])

_HERE = "agentrl.trainers.sampling"
# id -> where its class lives
BUILTIN: dict[Kind, dict[str, str]] = {
    "source": homes(
        _HERE, "curriculum:Curriculum prompt-replay:PromptReplay restarts:Restarts uniform:Uniform vade:VADE"
    ),
    "budget": homes(_HERE, "equal@base:Budget knapsack:Knapsack trace:TRACE xrpo:XRPO"),
    "brancher": homes(_HERE, "aepo:AEPO appo:APPO arpo:ARPO hints:Hints latr:LATR scope:SCOPE treepo:TreePO"),
    "filter": homes(_HERE, "dynamic:Dynamic"),
    "replay": homes(_HERE, "successes:Successes"),
}

_registered: dict[tuple[Kind, str], type[Method]] = {}


def register(kind: Kind, id: str) -> Callable[[M], M]:
    """Register a class of the user's own under ``id``."""

    def decorate(cls: M) -> M:
        before = _registered.get((kind, id))
        if id in BUILTIN[kind] or (before is not None and before.__module__ != cls.__module__):
            raise UserError(f"the {kind} id {id!r} is taken: choose another")
        _registered[kind, id] = cls
        return cls

    return decorate


def names(kind: Kind) -> list[str]:
    return sorted({*BUILTIN[kind], *(id for k, id in _registered if k == kind)})


def bind(kind: Kind, spec: Spec) -> Any:
    """The method that ``"id"`` or ``{id: {option: value}}`` means.

    Raises UserError for an unknown id or option, or a value of the wrong type or out of range.
    """
    id, options = read(spec, kind)
    if (kind, id) in _registered:
        cls = _registered[kind, id]
    elif id in BUILTIN[kind]:
        module, _, name = BUILTIN[kind][id].partition(":")
        cls = getattr(import_module(module), name)
    else:
        raise unknown(kind, id, names(kind))
    return made(f"{kind} {id}", cls, options, list(cls.model_fields))
