"""Names for task sources, budgets and branchers, loaded when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from agentrl.errors import UserError, unknown
from agentrl.trainers.options import Spec, read
from agentrl.trainers.sampling.base import Method

Kind = Literal["source", "budget", "brancher", "filter", "replay"]
M = TypeVar("M", bound=type[Method])

_HERE = "agentrl.trainers.sampling"
# id -> where its class lives
BUILTIN: dict[Kind, dict[str, str]] = {
    "source": {
        "curriculum": f"{_HERE}.curriculum:Curriculum",
        "prompt-replay": f"{_HERE}.prompt_replay:PromptReplay",
        "restarts": f"{_HERE}.restarts:Restarts",
        "uniform": f"{_HERE}.uniform:Uniform",
        "vade": f"{_HERE}.vade:VADE",
    },
    "budget": {
        "equal": f"{_HERE}.base:Budget",
        "knapsack": f"{_HERE}.knapsack:Knapsack",
        "trace": f"{_HERE}.trace:TRACE",
        "xrpo": f"{_HERE}.xrpo:XRPO",
    },
    "brancher": {
        "aepo": f"{_HERE}.aepo:AEPO",
        "appo": f"{_HERE}.appo:APPO",
        "arpo": f"{_HERE}.arpo:ARPO",
        "hints": f"{_HERE}.hints:Hints",
        "latr": f"{_HERE}.latr:LATR",
        "scope": f"{_HERE}.scope:SCOPE",
        "treepo": f"{_HERE}.treepo:TreePO",
    },
    "filter": {
        "dynamic": f"{_HERE}.dynamic:Dynamic",
    },
    "replay": {
        "successes": f"{_HERE}.successes:Successes",
    },
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
    try:
        return cls(**options)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown(f"option of {kind} {id}", path, cls.model_fields) from None
        raise UserError(f"option {path} of {kind} {id}: {first['msg']}, not {first['input']!r}") from None
