"""What plug-ins share: how a recipe names one with its options, and how those are checked before anything runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from agentrl.errors import UserError, unknown

M = TypeVar("M", bound=BaseModel)
Spec = str | Mapping[str, Mapping[str, Any] | None]


def read(spec: Spec, what: str) -> tuple[str, dict[str, Any]]:
    """``"id"`` or ``{id: {option: value}}`` as id and options."""
    if isinstance(spec, str):
        return spec, {}
    if isinstance(spec, Mapping) and len(spec) == 1:
        [(id, options)] = spec.items()
        if isinstance(options, Mapping | None):
            return id, dict(options or {})
    raise UserError(f"a {what} is written as a name or as one {{name: {{option: value}}}}, not {spec!r}")


def weight_of(id: str, options: dict[str, Any]) -> float:
    """Take ``weight`` out of ``options``; 1 where there is none."""
    weight = options.pop("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise UserError(f"option weight of {id} must be a number, not {weight!r}")
    return float(weight)


def model_of(id: str, function: Callable[..., Any]) -> type[BaseModel]:
    """The keyword-only parameters of ``function`` as a pydantic model that forbids others."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {
        p.name: (hints.get(p.name, Any), ... if p.default is p.empty else p.default)
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    }
    return create_model(f"{id} options", __config__=ConfigDict(extra="forbid"), **fields)


def check(id: str, model: type[BaseModel], options: Mapping[str, Any], also: Sequence[str] = ()) -> dict[str, Any]:
    """All options with their values. Raises UserError for a bad value or an unknown option; ``also`` are known too."""
    chosen = made(id, model, options, [*model.model_fields, *also])
    return {name: getattr(chosen, name) for name in model.model_fields}


def made(id: str, model: type[M], options: Mapping[str, Any], known: Collection[str]) -> M:
    """``model`` of the ``options``. Raises UserError for a bad value, or an option that it does not have."""
    for name in options:
        if name not in model.model_fields:
            raise unknown(f"option of {id}", name, known)
    try:
        return model(**options)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise UserError(f"option {path} of {id}: {first['msg']}, not {first['input']!r}") from None


def validated(kind: type[M], what: str, given: Mapping[str, Any]) -> M:
    """``kind`` of what was ``given``. Raises UserError that names ``what`` and the key."""
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{what}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def paragraph(function: Callable[..., Any], head: str) -> str:
    """The paragraph of the docstring that begins with ``head:``, as one line; empty where there is none."""
    lines: list[str] = []
    for line in (inspect.getdoc(function) or "").splitlines():
        if lines and not line.strip():
            break
        if lines or line.startswith(f"{head}:"):
            lines.append(line.removeprefix(f"{head}:").strip())
    return " ".join(lines)
